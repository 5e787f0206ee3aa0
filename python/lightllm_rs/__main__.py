"""`python -m lightllm_rs` is `lightllm-rs`."""

from __future__ import annotations

import sys

from lightllm_rs.cli import main

if __name__ == "__main__":
    sys.exit(main())
