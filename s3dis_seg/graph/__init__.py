"""Dynamic graphs on point clouds: dilated nearest neighbours, and the maximum over their edges.

knn.py and edge_max.py are what networks use, and definition.py says what they mean. The same inner functions are there
three times, in torch_backend.py, numba_backend.py and triton_backend.py; dispatch.py chooses among them.
"""
