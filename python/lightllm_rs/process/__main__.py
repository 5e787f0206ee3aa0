"""`python -m lightllm_rs.process`: started by the supervisor only."""

from __future__ import annotations

import sys

from lightllm_rs.process.entry import main

if __name__ == "__main__":
    sys.exit(main())
