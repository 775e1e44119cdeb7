"""What the readers of HDF5 files share: checks of a file that may be damaged, or made by a stranger."""

import math

import h5py

DAMAGES = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError)  # what h5py and json raise
_LARGEST_CHUNK = 1 << 20  # bytes of a chunk that may be larger than its dataset


def require_stored(dataset):
    """ValueError where a dataset declares more numbers than are stored: HDF5 would make up the missing ones."""
    if dataset.chunks is None:
        stored = dataset.id.get_storage_size() >= dataset.nbytes
    else:
        chunks = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks))
        whole = math.prod(dataset.chunks) * dataset.dtype.itemsize <= max(dataset.nbytes, _LARGEST_CHUNK)
        stored = whole and dataset.id.get_num_chunks() >= chunks
    if not stored:
        raise ValueError(f"its {dataset.name.lstrip('/')} declares more numbers than the file holds")


def own_dataset(file, name):
    """A dataset that lies in this very file. -> h5py.Dataset; ValueError or KeyError where it does not.

    HDF5 can take a dataset from any file of the system, by a link, by external storage or as a virtual dataset. A room
    from a stranger would put the contents of such a file into the output.
    """
    parent, where = file, ""
    for part in name.split("/"):
        where = f"{where}/{part}".lstrip("/")
        if not isinstance(parent, h5py.Group) or not parent.id.links.exists(part.encode()):
            raise KeyError(f"it has no {where}")
        if parent.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"its {where} is a link to something else")
        parent = parent[part]
    if not isinstance(parent, h5py.Dataset):
        raise ValueError(f"its {name} is no dataset")
    if parent.external or parent.is_virtual:
        raise ValueError(f"its {name} is kept in another file")
    return parent
