"""Dynamic graphs on point clouds: dilated nearest neighbours, and the maximum over their edges.

knn.py and edge_max.py are what networks use, reference.py says what they mean. plain.py, compiled.py and kernels.py
hold the same inner functions three times: in torch alone, for numba and for Triton; engines.py chooses.
"""
