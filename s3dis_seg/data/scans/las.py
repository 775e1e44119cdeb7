"""LAS and LAZ files through laspy; the sizes that a header promises are compared with the file before laspy reads.

LAS is mapped and not copied. LAZ is decompressed in a process of its own: the native code that does it can end the
process that runs it when a file is damaged.
The format: https://www.asprs.org/divisions-committees/lidar-division/laser-las-file-format-exchange-activities
Letters: P points.
"""

import copy
import io
import mmap
import resource
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from s3dis_seg.data.ahead import ahead
from s3dis_seg.data.scans.lazy import Lazy
from s3dis_seg.files import InputError

_RGB = ("red", "green", "blue")
_WITH_COLORS = {0: 2, 1: 3, 4: 5, 6: 7, 9: 10}  # the point format that has colours besides
_WITH_ALL_CODES = {0: 6, 1: 6, 2: 7, 3: 7, 4: 9, 5: 10}  # that holds classification codes above 31
_ANGLE = 0.006  # degrees: the step of a scan angle in the point formats 6 to 10; older ones count whole degrees
_LOOKUP = ("LASF_Spec", 0)  # user and number of the record that names classification codes
_RECORD_SIZES = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)  # bytes of a point, by point format
_HEADER_SIZES = {0: 227, 1: 227, 2: 227, 3: 235, 4: 375}  # by minor version
_FIRST_NEW = 6  # from this point format on, the bits of a point lie in other places
_WAVEFORMS = (4, 5, 9, 10)  # point formats after whose points other data may follow
_VLR_HEADER = 54
_BYTES_AT_ONCE = 1 << 23
_POINTS_AT_ONCE = 100_000
_MEMORY = 1 << 30  # bytes that decompression may take beyond three times the file
_POINTWISE_CHUNKED, _LAYERED_CHUNKED = 2, 3  # ways of compression
_VARIABLE_CHUNKS = 2**32 - 1  # as the size of a chunk: the table of chunks has the points of each
_OTHER_COUNT = 3  # exit code of the process that decompresses


@dataclass
class _Layout:
    """Where the points of a file lie, as its header says."""

    compressed: bool
    form: int
    start: int
    record: int  # bytes of a point
    points: int
    end: int  # where the points end at the latest


def read(path):
    """Read a LAS or LAZ file. -> name -> (P,) array: x, y, z in metres (Lazy), every attribute; laspy.LasData

    Raises InputError where the file is damaged, or holds fewer or more points than its header promises.
    """
    laspy = _laspy(path)
    layout = _layout(path)
    try:
        with laspy.open(path) as reader:
            header = reader.header
        if header.point_format.size != layout.record:
            raise ValueError(f"attributes of a point take {header.point_format.size} bytes and not {layout.record}")
        dtype = header.point_format.dtype()
        if layout.points == 0:
            records = np.empty(0, dtype)
        elif layout.compressed:
            records = _decompressed(path, dtype, layout)
        else:
            records = np.memmap(path, dtype, "r", layout.start, (layout.points,))
        points = laspy.ScaleAwarePointRecord(records, header.point_format, header.scales, header.offsets)
        las = laspy.LasData(header, points)
        columns = {axis: _coordinate(las, axis) for axis in "xyz"}
        names = [name for name in las.point_format.dimension_names if name not in ("X", "Y", "Z", "x", "y", "z")]
        columns |= {name: _attribute(las, name) for name in names}
        return columns, las
    except (InputError, OSError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # panics of native code are no Exception
        raise InputError(f"{path} is damaged: {_one_line(error)}; copy it again") from error


def write(path, columns, source=None, names=None):
    """Write points; version, point format, scales, offsets and records as in `source`, the LasData that `read` gave.

    Attributes that the point format lacks become extra dimensions. names: code -> name for the attribute
    `classification`, which may then have any code up to 255: point formats before 6 are converted, and a record names
    the codes.
    """
    laspy = _laspy(path)
    if source is None:
        header, count, given = _new_points(laspy, path, columns)
    else:
        header, count, given = source.header, len(source.points), source.points.__getitem__
    attributes = {name: values for name, values in columns.items() if name.lower() not in ("x", "y", "z")}
    given_format = header.point_format
    if names is not None and "scan_angle_rank" in given_format.standard_dimension_names:
        attributes["scan_angle"] = np.rint(np.asarray(attributes.pop("scan_angle_rank")) / _ANGLE).astype(np.int16)
    header = _header_for(laspy, header, attributes, names)
    if source is not None and (given_format.id < _FIRST_NEW) == (header.point_format.id < _FIRST_NEW):
        attributes = {name: values for name, values in attributes.items() if not _is_copied(name, values)}
    with open(path, "wb") as file:
        try:
            compressed = Path(path).suffix.lower() == ".laz"
            with laspy.LasWriter(file, header, do_compress=compressed, closefd=False) as writer:
                starts = range(0, count, _POINTS_AT_ONCE)
                parts = [slice(start, min(start + _POINTS_AT_ONCE, count)) for start in starts]
                records = partial(_records, laspy, header, given, attributes)
                for some in ahead(records, parts, workers=2, lead=2):
                    writer.write_points(some)
                    if source is not None:
                        _release(source.points.array)
                if header.version.minor >= 4 and header.evlrs is not None:
                    writer.write_evlrs(header.evlrs)
        except RuntimeError as error:  # how the compressor reports a full disk
            raise OSError(str(error)) from error


def part_of(source, points):
    """Some points of a file. source: the LasData of `read`; points: (n,) numbers or (P,) bool -> LasData"""
    import laspy

    return laspy.LasData(source.header, source.points[points])


def _without_tree(header):
    """A copy of a header as that of a plain file: the tree of a COPC file says where points lie in that file alone."""
    header = copy.deepcopy(header)
    for records in (header.vlrs, header.evlrs or []):
        records[:] = [record for record in records if record.user_id != "copc"]
    return header


def conversion_for_codes(source):
    """A sentence where the point format of a LasData has no room for codes above 31, otherwise \"\""""
    given = source.point_format.id
    if given not in _WITH_ALL_CODES:
        return ""
    return (
        f"point format {given} holds no classification codes above 31 and is converted to "
        f"{_WITH_ALL_CODES[_WITH_COLORS.get(given, given)]}, which makes the file LAS 1.4"
    )


def _header_for(laspy, header, attributes, names):
    """The same header with a point format that has colours, every attribute and room for named codes."""
    las = laspy.LasData(_without_tree(header), laspy.ScaleAwarePointRecord.zeros(0, header=header))
    if "red" not in las.point_format.dimension_names:
        las = laspy.convert(las, point_format_id=_WITH_COLORS.get(las.point_format.id, 7))
    if names is not None:
        if las.point_format.id in _WITH_ALL_CODES:
            las = laspy.convert(las, point_format_id=_WITH_ALL_CODES[las.point_format.id])
        _name_codes(laspy, las.header, names)
    there = set(las.point_format.dimension_names)
    las.add_extra_dims([laspy.ExtraBytesParams(name, _extra_type(values.dtype))
                        for name, values in attributes.items() if name not in there])  # fmt: skip
    return las.header


def _name_codes(laspy, header, names):
    """Put names of classification codes into the lookup record; those of other codes stay."""
    known = {}
    for records in (header.vlrs, header.evlrs or []):
        for record in records:
            if (record.user_id, record.record_id) == _LOOKUP:
                known |= record.lookups
        records[:] = [record for record in records if (record.user_id, record.record_id) != _LOOKUP]
    known |= names
    content = b"".join(struct.pack("<B15s", code, known.get(code, "").encode()[:15]) for code in range(256))
    header.vlrs.append(laspy.VLR(*_LOOKUP, "Classification Lookup", content))


def _records(laspy, header, given, attributes, part):
    """Some points as they are written: the records `given(part)`, with the values that attributes have there."""
    records = laspy.ScaleAwarePointRecord.zeros(part.stop - part.start, header=header)
    records.copy_fields_from(given(part))
    standard = set(header.point_format.standard_dimension_names)
    for name, values in attributes.items():
        values = values[part]
        # LAS colours have 16 bits, and 255 is 65535 there.
        wide = name in standard and name in _RGB and values.dtype == np.uint8
        records[name] = values.astype(np.uint16) * 257 if wide else values
    return records


def _is_copied(name, values):
    """Whether an attribute comes with the records of the file: bits, which take long to set one by one."""
    values = getattr(values, "origin", values)
    return isinstance(values, _Bits) and values.name == name


class _Bits:
    """A part of a byte of every point, taken out for the slice that is asked for. (P,) like an array"""

    def __init__(self, name, view):
        self.name, self.view, self.dtype = name, view, view.array.dtype

    def __len__(self):
        return len(self.view.array)

    def __getitem__(self, part):
        return np.asarray(self.view[part])

    def __array__(self, dtype=None, copy=None):
        return self[:].astype(dtype or self.dtype)


def _attribute(las, name):
    """An attribute as (P,) values: mapped from the file, or taken out of its bits when asked for."""
    values = las[name]
    return _Bits(name, values) if hasattr(values, "bit_mask") else np.asarray(values)


def _coordinate(las, axis):
    """-> Lazy (P,) float64, computed from the whole numbers of the file"""
    return Lazy(lambda part: np.asarray(las.points[part][axis]), (len(las.points),), np.float64)


def _release(records):
    """Take the pages of a mapped file out of memory; whoever reads them again gets them from the file."""
    if isinstance(records, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        records._mmap.madvise(mmap.MADV_DONTNEED)


def _extra_type(dtype):
    """The type of an extra dimension: LAS has neither bool nor half floats."""
    return {"b1": np.dtype("u1"), "f2": np.dtype("f4")}.get(dtype.str[1:], dtype)


def _laspy(path):
    try:
        import laspy
    except ImportError as error:
        raise InputError(f"{path}: LAS and LAZ files need laspy; run: pip install 'laspy[lazrs]'") from error
    return laspy


def _new_points(laspy, path, columns):
    """A LAS file of points alone, to a tenth of a millimetre. -> its header, P, function of a slice -> its records"""
    names = {name.lower(): name for name in reversed(columns)}
    axes = [columns[names[axis]] for axis in "xyz"]
    count, corner = len(axes[0]), np.full(3, np.inf)
    for start in range(0, count, _POINTS_AT_ONCE):
        xyz = np.stack([axis[start : start + _POINTS_AT_ONCE] for axis in axes], axis=1).astype(np.float64)
        if not np.isfinite(xyz).all():
            raise InputError(f"{path}: LAS cannot hold NaN or infinite coordinates; write a .ply instead")
        corner = np.minimum(corner, xyz.min(axis=0))
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales, header.offsets = np.full(3, 0.0001), np.floor(corner)

    def records(part):
        some = laspy.ScaleAwarePointRecord.zeros(part.stop - part.start, header=header)
        some.x, some.y, some.z = (np.asarray(axis[part], np.float64) for axis in axes)
        return some

    return header, count, records


def _one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


# --- the header against the file --------------------------------------------------------------------------------------


def _layout(path):
    """The places of a LAS header, each compared with the size of the file. InputError where one cannot be."""
    with open(path, "rb") as file:
        head = file.read(375)
        size = file.seek(0, 2)
        if head[:4] != b"LASF":
            raise InputError(f"{path} is not a LAS file: it begins with {head[:8]!r} instead of 'LASF'")
        major, minor = head[24:26] if len(head) > 25 else (0, 0)
        if major != 1 or minor not in _HEADER_SIZES:
            raise InputError(f"{path} is LAS {major}.{minor} or damaged; LAS 1.0 to 1.4 can be read")
        if len(head) < _HEADER_SIZES[minor]:
            raise InputError(f"{path} is cut off in its header; copy it again")
        header_size, start, vlrs, form, record, points = struct.unpack_from("<HIIBHI", head, 94)
        extra_start, extras = 0, 0
        if minor == 4:
            extra_start, extras, points = struct.unpack_from("<QIQ", head, 235)
        if not _HEADER_SIZES[minor] <= header_size <= start <= size:
            raise InputError(f"{path} is cut off or damaged: its header says that it has {header_size:,} bytes and "
                             f"that the points start at byte {start:,} of {size:,}; copy it again")  # fmt: skip
        _check_records(path, file, header_size, start, vlrs, "<H", 20, _VLR_HEADER)
        if extras:
            _check_records(path, file, extra_start, size, extras, "<Q", 20, 60)
    compressed, form = bool(form & 0x80), form & 0x3F
    if form >= len(_RECORD_SIZES) or record < _RECORD_SIZES[form]:
        raise InputError(f"{path} is damaged: point format {form} with {record} bytes a point; copy it again")
    if not np.isfinite(struct.unpack_from("<6d", head, 131)).all() or 0 in struct.unpack_from("<3d", head, 131):
        raise InputError(f"{path} is damaged: its scales or offsets are no numbers; copy it again")
    end = extra_start if extras and extra_start >= start else size
    layout = _Layout(compressed, form, start, record, points, end)
    if not compressed:
        _check_points(path, layout)
    return layout


def _check_records(path, file, start, end, count, kind, place, header_size):
    """Walk through the variable length records, whose number and lengths must fit between `start` and `end`."""
    here = start
    if count <= (end - start) // header_size:
        for _ in range(count):
            file.seek(here)
            head = file.read(header_size)
            if len(head) < header_size:
                break
            here += header_size + struct.unpack_from(kind, head, place)[0]
            if here > end:
                break
        else:
            return
    raise InputError(f"{path} is damaged: it says that it has {count:,} variable length records, which do not fit "
                     "where they should be; copy it again")  # fmt: skip


def _check_points(path, layout):
    found = (layout.end - layout.start) // layout.record
    if found < layout.points:
        raise InputError(
            f"{path} is cut off: its header promises {layout.points:,} points, it holds {found:,}; copy it again"
        )
    if found > layout.points and layout.form not in _WAVEFORMS:
        with open(path, "rb") as file:
            file.seek(layout.start + layout.points * layout.record)
            if file.read(layout.record).strip(b"\0"):
                raise InputError(
                    f"{path} holds more than the {layout.points:,} points that its header promises; repair its header"
                )


# --- decompression, in a process of its own ---------------------------------------------------------------------------


def _decompressed(path, dtype, layout):
    """The points of a LAZ file, mapped from a temporary file that goes away with the array. -> (P,) structured array"""
    with tempfile.TemporaryFile() as file:
        script = f"import sys; from {__name__} import _decompress; _decompress(sys.argv[1])"
        command = [sys.executable, "-c", script, str(Path(path).resolve())]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, cwd=_root())
        found = file.seek(0, 2) // layout.record
        if done.returncode:
            last = done.stderr.decode(errors="replace").split("\n")
            reason = next((line.strip() for line in reversed(last) if line.strip()), f"exit code {done.returncode}")
            if done.returncode == _OTHER_COUNT:
                raise InputError(f"{path} is damaged: its last chunk holds fewer or more points than the "
                                 f"{layout.points:,} of its header leave for it; copy it again")  # fmt: skip
            raise InputError(f"{path} is damaged: after {found:,} of {layout.points:,} points it cannot be "
                             f"decompressed ({reason[:200]}); copy it again")  # fmt: skip
        if found != layout.points:
            raise InputError(f"{path} is cut off: its header promises {layout.points:,} points, it holds {found:,}")
        return np.memmap(file, dtype, "r", 0, (layout.points,))


def _root():
    """The folder that holds the package, so that the process finds this very copy of it."""
    return Path(__file__).resolve().parents[3]


def _decompress(path):
    """Write the points of a LAZ file to standard output as bytes, a few megabytes at a time."""
    import laspy

    size = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc").exists() else 0
    )
    most = size + _MEMORY + 3 * Path(path).stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with laspy.open(path, laz_backend=laspy.LazBackend.Lazrs) as reader:
        for points in reader.chunk_iterator(max(1, _BYTES_AT_ONCE // reader.header.point_format.size)):
            sys.stdout.buffer.write(memoryview(points.array).cast("B"))
    if not _is_last_chunk_whole(path):
        sys.exit(_OTHER_COUNT)


def _is_last_chunk_whole(path):
    """Whether the last chunk of a LAZ file holds just the points that its header leaves for it.

    Neither the file nor its table of chunks says how many these are, and a decoder makes points up from what follows.
    """
    import laspy
    import lazrs

    with laspy.open(path) as reader:
        header = reader.header
    settings = header.vlrs.get("LasZipVlr")[0].record_data
    kind, size = struct.unpack_from("<H", settings)[0], struct.unpack_from("<I", settings, 12)[0]
    if kind not in (_POINTWISE_CHUNKED, _LAYERED_CHUNKED):
        return True
    with open(path, "rb") as file:
        file.seek(header.offset_to_point_data)
        chunks = lazrs.read_chunk_table(file, lazrs.LazVlr(settings))
        file.seek(header.offset_to_point_data + 8 + sum(length for _, length in chunks[:-1]))
        last = file.read(chunks[-1][1])
    if size == _VARIABLE_CHUNKS:
        return sum(points for points, _ in chunks) == header.point_count
    points, record = header.point_count - size * (len(chunks) - 1), header.point_format.size
    if not 1 <= points <= size:
        return False
    if kind == _LAYERED_CHUNKED:  # says it behind its first point, which is not compressed
        return len(last) >= record + 4 and struct.unpack_from("<I", last, record)[0] == points
    # The encoder pads a chunk so that the decoder reads every byte of it, and none beyond.
    whole, short = (_can_decode(content, settings, points, record) for content in (last, last[:-1]))
    return whole and not short


def _can_decode(chunk, settings, points, record):
    """Whether a chunk by itself has the bytes that so many points need."""
    import lazrs

    try:
        decoder = lazrs.LasZipDecompressor(_LoneChunk(chunk, settings), settings)
        decoder.decompress_many(bytearray(points * record))
    except lazrs.LazrsError:
        return False
    return True


class _LoneChunk(io.BytesIO):
    """A chunk as a LAZ stream of its own, which ends behind the chunk for whoever reads on from it."""

    def __init__(self, chunk, settings):
        import lazrs

        self.end, table = 8 + len(chunk), io.BytesIO()
        lazrs.write_chunk_table(table, [(1, len(chunk))], lazrs.LazVlr(settings))
        super().__init__(struct.pack("<q", self.end + 1) + chunk + b"\0" + table.getvalue())

    def readinto(self, buffer):
        left = self.end - self.tell()
        return super().readinto(memoryview(buffer)[:left] if left >= 0 else buffer)
