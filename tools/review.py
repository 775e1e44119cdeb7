"""`python tools/review.py ...` is `s3dis-seg review ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

# Worker processes import this file again, and must not start another run.
if __name__ == "__main__":
    sys.exit(main(["review", *sys.argv[1:]]))
