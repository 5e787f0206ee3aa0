"""`python -m lightllm_rs.settings` prints the page docs/settings.md."""

from __future__ import annotations

import sys

from lightllm_rs.settings.document import markdown

if __name__ == "__main__":
    sys.stdout.write(markdown())
