"""A prediction and a confidence for every point of a scan: numpy in, numpy out.

    scan -> thinned cloud -> columns with overlap -> blocks -> network -> votes -> back to every point

`plan` makes a scan ready, `notes` says what is odd about it, `network` runs blocks through the network, `votes` adds up
what overlapping blocks say, and `segmenter` calls them in this order. The columns are visited along the longer side of
the scan, so that sums of probabilities exist only for the band of points that columns still to come can reach.
"""

from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT
from s3dis_seg.segmentation.segmenter import SegmentationResult, Segmenter

__all__ = ["DEFAULT_CHECKPOINT", "SegmentationResult", "Segmenter"]
