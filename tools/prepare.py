"""`python tools/prepare.py ...` is `s3dis-seg prepare ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

sys.exit(main(["prepare", *sys.argv[1:]]))
