"""Semantic segmentation of point clouds with deep graph networks (DeepGCNs), in the order of the pipeline."""

import os
from importlib import import_module

# Read by OpenMP when torch is imported. Waiting threads that spin stop each other on a busy machine: training a small
# network then takes up to five times as long (measured with one other process on two cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Name -> the module that has it. A name is imported when it is first used, so that a small script starts quickly
# and a machine without, say, plyfile can still train.
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

__version__ = "0.1.0"
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"s3dis_seg has no attribute {name!r}; it offers {', '.join(_PUBLIC)}")
    return getattr(import_module(f"s3dis_seg.{_PUBLIC[name]}"), name)


def __dir__():
    return sorted([*globals(), *_PUBLIC])
