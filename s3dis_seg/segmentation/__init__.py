"""A prediction and a confidence for every point of a scan: numpy in, numpy out.

    scan -> thinned cloud -> columns with overlap -> blocks -> network -> votes -> back to every point

`plan` thins a scan, `layouts` lays out its columns, `notes` writes the warnings, `network` runs blocks through the
network, `votes` adds up the probabilities of overlapping blocks, and `segmenter` calls them in this order. Columns are
visited along the longer side of the scan. So sums of probabilities are kept only for the band of points that later
columns can still reach.
"""

from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT
from s3dis_seg.segmentation.segmenter import SegmentationResult, Segmenter

__all__ = ["DEFAULT_CHECKPOINT", "SegmentationResult", "Segmenter"]
