"""LAS and LAZ files through laspy. Letters: P points."""

import copy

import numpy as np

from s3dis_seg.files import InputError

_RGB = ("red", "green", "blue")
_LAS_WITH_COLORS = {0: 2, 1: 3, 4: 5, 6: 7, 9: 10}  # the point format that has colours besides


def read(path):
    """Read a LAS or LAZ file. -> columns (name -> (P,) array), laspy.LasData"""
    laspy = _laspy(path)
    try:
        las = laspy.read(path)
    except (laspy.LaspyException, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a LAS file that can be read: {error}; copy it again") from error
    columns = dict(zip("xyz", las.xyz.T))
    columns |= {name: np.asarray(las[name]) for name in las.point_format.dimension_names if name not in ("X", "Y", "Z")}
    return columns, las


def write(path, columns, source=None):
    """Write `columns`; everything else as in `source`, the LasData that `read` gave, where there is one."""
    laspy = _laspy(path)
    if source is not None:
        las = laspy.LasData(copy.deepcopy(source.header), source.points.copy())
        if "red" not in las.point_format.dimension_names:
            las = laspy.convert(las, point_format_id=_LAS_WITH_COLORS.get(las.point_format.id, 7))
    else:
        las = _new_las(laspy, path, columns)
    standard = set(las.point_format.standard_dimension_names)
    there = set(las.point_format.dimension_names) | set("xyz")
    las.add_extra_dims(
        [laspy.ExtraBytesParams(name, values.dtype) for name, values in columns.items() if name not in there]
    )
    for name, values in columns.items():
        if name not in "xyz":
            values = values[:]
            # LAS colours have 16 bits, and 255 is 65535 there.
            wide = name in standard and name in _RGB and values.dtype == np.uint8
            las[name] = values.astype(np.uint16) * 257 if wide else values
    with open(path, "wb") as file:
        try:
            las.write(file, do_compress=path.suffix.lower() == ".laz")
        except RuntimeError as error:  # how the compressor reports a full disk
            raise OSError(str(error)) from error


def _laspy(path):
    try:
        import laspy
    except ImportError as error:
        raise InputError(f"{path}: LAS and LAZ files need laspy; run: pip install 's3dis_seg[las]'") from error
    return laspy


def _new_las(laspy, path, columns):
    """A LAS file of points alone, to a tenth of a millimetre."""
    xyz = np.stack([columns[axis] for axis in "xyz"], axis=1).astype(np.float64)
    if not np.isfinite(xyz).all():
        raise InputError(f"{path}: LAS cannot hold NaN or infinite coordinates; write a .ply instead")
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales, header.offsets = np.full(3, 0.0001), np.floor(xyz.min(axis=0))
    las = laspy.LasData(header)
    las.xyz = xyz
    return las
