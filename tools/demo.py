"""`python tools/demo.py ...` is `s3dis-seg demo ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

sys.exit(main(["demo", *sys.argv[1:]]))
