"""`python tools/train.py ...` is `s3dis-seg train ...`, for those who run from a clone."""

import sys

from s3dis_seg.cli.main import main

sys.exit(main(["train", *sys.argv[1:]]))
