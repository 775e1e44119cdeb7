"""`python tools/export.py ...` is `s3dis-seg export ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

# Worker processes import this file again, and must not start another run.
if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
