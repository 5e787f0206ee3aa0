"""An HTTP process that waits for a cache manager for as long as it takes, in place of `lightllm_rs.process`: on a busy
machine one may need longer to start than requests are made to wait."""

from __future__ import annotations

import sys

from lightllm_rs.http import call_images
from lightllm_rs.process.entry import main

if __name__ == "__main__":
    call_images.LOST_SECONDS = call_images.NEW_SECONDS = 3600.0
    sys.exit(main())
