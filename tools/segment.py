"""`python tools/segment.py ...` is `s3dis-seg segment ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

sys.exit(main(["segment", *sys.argv[1:]]))
