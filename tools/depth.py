"""`python tools/depth.py ...` is `s3dis-seg depth ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["depth", *sys.argv[1:]]))
