"""`python tools/report.py ...` is `s3dis-seg report ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

# Worker processes import this file again, and must not start another run.
if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
