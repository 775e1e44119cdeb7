"""Semantic segmentation of point clouds with deep graph networks (DeepGCNs), in the order of the pipeline."""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from s3dis_seg.graph.processor import force

if TYPE_CHECKING:  # what type checkers and editors see; at run time `__getattr__` below imports the same names
    from s3dis_seg.classes import CLASSES as CLASSES
    from s3dis_seg.classes import COLORS as COLORS
    from s3dis_seg.data.blocks.settings import BlockSettings as BlockSettings
    from s3dis_seg.data.scans import read_scan as read_scan
    from s3dis_seg.data.scans import write_scan as write_scan
    from s3dis_seg.files import InputError as InputError
    from s3dis_seg.graph.knn import dilated_knn as dilated_knn
    from s3dis_seg.metrics import confusion_matrix as confusion_matrix
    from s3dis_seg.metrics import scores as scores
    from s3dis_seg.models.checkpoint import load_checkpoint as load_checkpoint
    from s3dis_seg.models.checkpoint import save_checkpoint as save_checkpoint
    from s3dis_seg.models.zoo import create_model as create_model
    from s3dis_seg.segmentation import Segmenter as Segmenter

__version__ = "0.2.0.dev0"  # the only place of the number: setup.cfg and `s3dis-seg --version` read it here

# OpenMP reads this when torch is imported. By default, waiting threads spin, and on a busy machine they take the cores
# from each other: training a small network took up to five times as long (measured beside another process, two cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

force(os.environ)

# Name -> the module it is imported from, when it is first used: a small script starts quickly, and a part whose
# packages are missing does not keep the others from working.
_PUBLIC = {
    "CLASSES": "classes",
    "COLORS": "classes",
    "InputError": "files",
    "read_scan": "data.scans",
    "write_scan": "data.scans",
    "BlockSettings": "data.blocks.settings",
    "dilated_knn": "graph.knn",
    "create_model": "models.zoo",
    "load_checkpoint": "models.checkpoint",
    "save_checkpoint": "models.checkpoint",
    "Segmenter": "segmentation",
    "confusion_matrix": "metrics",
    "scores": "metrics",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"s3dis_seg has no attribute {name!r}; it offers {', '.join(_PUBLIC)}")
    return getattr(import_module(f"s3dis_seg.{_PUBLIC[name]}"), name)


def __dir__():
    return sorted([*globals(), *_PUBLIC])
