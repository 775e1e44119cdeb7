"""CPU kernels of the graph engine, compiled by numba. The functions are those of torch_backend.py.

numba_knn.py and numba_edges.py have the kernels, vectors.py the tools that they are written with, and processor.py what
differs between processors.
"""

from s3dis_seg.graph.numba_edges import gather_extreme as gather_extreme
from s3dis_seg.graph.numba_edges import scatter_at as scatter_at
from s3dis_seg.graph.numba_edges import scatter_edges as scatter_edges
from s3dis_seg.graph.numba_knn import knn as knn
