"""Archives of numpy (.npz): an array xyz (P, 3), colours rgb (P, 3), and any (P,) arrays, by their names.

Arrays of words are read, too: labels may be names of classes. Letters: P points.
"""

import zipfile

import numpy as np

from s3dis_seg.files import InputError

_XYZ = ("xyz", "points", "coord", "coords", "positions")
_RGB = ("rgb", "color", "colors", "colour", "colours")
_MOST_BYTES = 1 << 36  # of an array, unpacked
_LONGEST_WORD = 200


def read(path):
    """Read an archive. -> columns (name -> (P,) array), None

    Raises InputError where the file is damaged or an array is neither of these. Never unpickles.
    """
    try:
        # Opened here, because numpy leaves the file open where it is no archive.
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            arrays = {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in archive.infolist()}
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # what damaged bytes do to their reader is anyone's guess
        said = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is damaged or no .npz archive ({said}); save it again with numpy.savez") from error
    count = max((array.shape[0] for array in arrays.values() if array.ndim), default=0)
    columns = {}
    for name, array in arrays.items():
        columns |= _columns(path, name, array, count)
    return columns, None


def _array(archive, entry):
    """An array of an archive. ValueError where its shape claims more numbers than the archive holds."""
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
        size = dtype.itemsize * int(np.prod([int(side) for side in shape], dtype=object))
    if min(shape, default=0) < 0 or not 0 <= size <= min(entry.file_size, _MOST_BYTES):
        raise ValueError(f"{entry.filename[:40]} cannot have its shape {str(shape)[:60]}")
    with archive.open(entry) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _columns(path, name, array, count):
    """The columns that an array becomes. -> dict"""
    words = array.dtype.kind == "U" and array.dtype.itemsize <= 4 * _LONGEST_WORD
    if array.shape == (count,) and (words or _is_plain(array.dtype)):
        return {name: array}
    for known, axes in ((_XYZ, "xyz"), (_RGB, ("red", "green", "blue"))):
        if name.lower() in known and array.shape == (count, 3) and _is_plain(array.dtype):
            return dict(zip(axes, array.T))
    raise InputError(
        f"{path} holds {name[:40]!r}, {str(array.dtype)[:40]} of shape {str(array.shape)[:60]}; expected xyz (P, 3), "
        "rgb (P, 3), and numbers or words of shape (P,): leave it out"
    )


def _is_plain(dtype):
    """Whether it is one number: bool, integer or float of at most 64 bits."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8
