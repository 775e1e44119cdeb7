"""Damaged files against every reader: `python tools/fuzz.py --seed 0 --count 500 --only ply pcd --keep failures`.

A valid small file of every format is damaged in a way that the seed decides, and read in a worker process. A reader
must either read it or raise InputError with one sentence. The table counts what happened instead:

traceback   any other exception, a sentence of several lines included
dead        the process ended
too slow    no answer in 10 s
too much    more memory than 200 MB and three times the file
suspicious  read, but with another number of points than the valid file: for a person to look at
"""

import argparse
import collections
import io
import json
import random
import re
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz_files import POINTS, ROOM, valid_files

from s3dis_seg.files import InputError

SECONDS = 10
WARMING = 120  # seconds for the first file of a kind
MEMORY = 200 << 20
ADDRESSES = 16 << 30  # bytes of address space: what asks for more gets a MemoryError and does not stop the machine
OUTCOMES = ("sentence", "read", "traceback", "dead", "too slow", "too much")
FAILURES = OUTCOMES[2:]
_ODD_NUMBERS = (
    b"-1", b"0", b"1", b"3", b"49", b"51", b"4294967295", b"4294967296", b"9223372036854775808", b"1e99", b"1.5",
    b"nan", b"inf", b"", b"x", "²".encode(), "٣".encode(), b"9" * 4400, b"-9223372036854775808", b"100000000",
)  # fmt: skip
_ODD_BYTES = [
    struct.pack(kind, value)
    for kind, values in (
        ("<I", (0, 1, 2**31 - 1, 2**31, 2**32 - 1)),
        ("<Q", (0, 2**63, 2**64 - 1)),
        ("<H", (0, 1, 65535)),
        ("<d", (float("nan"), float("inf"), -1e300, 0.0)),
        ("<f", (float("nan"), 1e30)),
        (">I", (1, 2**31)),
    )
    for value in values
]
_TYPE_WORDS = tuple(
    word.encode()
    for word in [
        "float",
        "double",
        "uchar",
        "char",
        "int",
        "uint",
        "short",
        "list",
        "F",
        "U",
        "I",
        "ascii",
        "binary",
        "binary_compressed",
        "binary_little_endian",
        "binary_big_endian",
        "x",
        "y",
        "rgb",
    ]
)


# --- damage -----------------------------------------------------------------------------------------------------------


def damaged(content, rng, kind=""):
    """One to three kinds of damage. bytes, random.Random -> bytes, what was done

    A kind that ends in -values gets sound files with odd values in them. Every other archive is damaged inside, since
    its checksums would tell of any other damage.
    """
    if kind in _VALUE_DAMAGES:
        return _VALUE_DAMAGES[kind](content, rng)
    if content[:2] == b"PK" and rng.random() < 0.5:
        return _damaged_inside(content, rng)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        damage = rng.choice(_DAMAGES)
        content = damage(content, rng)
        done.append(damage.__name__.strip("_"))
    return content, " + ".join(done)


def _place(content, rng):
    """A place in the file; every other time one in its first 500 bytes, where headers are."""
    return rng.randrange(max(1, min(len(content), 500) if rng.random() < 0.5 else len(content)))


def _flip(content, rng):
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        if changed:
            changed[_place(content, rng)] = rng.randrange(256)
    return bytes(changed)


def _cut(content, rng):
    return content[: _place(content, rng)]


def _drop(content, rng):
    start = _place(content, rng)
    return content[:start] + content[start + rng.choice((1, 4, 30)) :]


def _double(content, rng):
    start = _place(content, rng)
    part = content[start : start + rng.choice((1, 4, 60))]
    return content[: start + len(part)] + part + content[start + len(part) :]


def _extreme(content, rng):
    start, odd = _place(content, rng), rng.choice(_ODD_BYTES)
    return content[:start] + odd + content[start + len(odd) :]


def _replace(content, rng, pattern, choices):
    found = list(re.finditer(pattern, content[: rng.choice((600, 100_000))]))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + rng.choice(choices) + content[match.end() :]


def _odd_number(content, rng):
    return _replace(content, rng, rb"(?<![\w.])-?\d[\d.]*", _ODD_NUMBERS)


def _other_word(content, rng):
    return _replace(content, rng, rb"(?<!\w)[A-Za-z_]{1,20}(?!\w)", _TYPE_WORDS)


def _lines(content, rng):
    """A line fewer, twice, elsewhere, or of other words."""
    lines = content.split(b"\n")
    place = rng.randrange(min(len(lines), 20))
    line = lines.pop(place)
    what = rng.randrange(4)
    if what == 1:
        lines[place:place] = [line, line]
    elif what == 2:
        lines.insert(rng.randrange(min(len(lines), 20) + 1), line)
    elif what == 3:
        lines.insert(
            place, rng.choice((b"", b"#", b"property list uchar int q", b"COUNT 2", b"\xff\xfe words", b"1 2"))
        )
    return b"\n".join(lines)


def _line_ends(content, rng):
    return content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b" \n", b"\0\n")))


def _encoding(content, rng):
    text = content.decode("latin-1")
    return rng.choice((b"\xef\xbb\xbf" + content, text.encode("utf-16"), text.encode("utf-8")))


def _long_line(content, rng):
    if rng.random() < 0.8:
        return _flip(content, rng)
    start = content.find(b"\n") + 1
    return content[:start] + rng.choice((b"x", b"comment ", b"# ", b"1 ")) * 2_000_000 + b"\n" + content[start:]


def _tail(content, rng):
    return content + rng.choice((b"\0", b"1 2 3\n", bytes(1000), content))


def _damaged_inside(content, rng):
    """Damage in one file of an archive, which is packed again with the right checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    # The small files, such as the pickle, are where the structure is.
    name = rng.choice(sorted(files) if rng.random() < 0.3 else sorted(files, key=lambda name: len(files[name]))[:4])
    name = next((pickle for pickle in files if pickle.endswith("data.pkl")), name) if rng.random() < 0.5 else name
    files[name], how = damaged(files[name], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(
        packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as out:
        for name_there, data in files.items():
            out.writestr(zipfile.ZipInfo(name_there), data)
    return packed.getvalue(), f"{how} in {name}"


def _odd_value(rng):
    import numpy as np

    return rng.choice((
        None, True, -1, 0, 1, 255, 2**31, 2**62, 10**400, -1.5, 1e-300, 1e300, float("nan"), float("inf"), "", "x",
        "²", "\ud800", "a" * 70_000, "../x", "x\0y", [], [1], [[]] * 3, {}, {"x": 1}, (), b"\xff", complex(1, 2),
        np.zeros(0), np.zeros((2, 3)), np.float32(np.nan), np.arange(13), np.zeros((50, 3), ">f4"), np.int64(3),
    ))  # fmt: skip


def _room_values(content, rng):
    return _hdf5_values(content, rng, [
        "xyz", "rgb", "labels", "instances", "cells", "cells/indices", "cells/starts", "profile", "profile/starts",
        "profile/bins", "profile/counts", "repairs",
    ])  # fmt: skip


def _pointnet_values(content, rng):
    return _hdf5_values(content, rng, ["data", "label"])


def _hdf5_values(content, rng, datasets):
    """A file in which one to three of these datasets, or of its attributes, are missing, of another kind, or odd."""
    import h5py
    import numpy as np

    buffer, done = io.BytesIO(content), []
    with h5py.File(buffer, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 3))):
            holder = file.attrs if len(file.attrs) and rng.random() < 0.4 else file
            name = rng.choice(datasets if holder is file else [*file.attrs])
            if name not in holder:
                continue
            small = holder is file.attrs or (isinstance(holder[name], h5py.Dataset) and holder[name].nbytes < 1 << 20)
            old = holder[name][()] if small and holder is file else holder[name] if small else None
            del holder[name]
            what = rng.choice(("gone", "odd", "odd", "type", "shape", "numbers", "numbers", "huge", "text"))
            done.append(f"{name} {what}")
            numbers = isinstance(old, np.ndarray) and old.dtype.kind in "iuf" and old.size
            try:
                if what == "odd":
                    holder[name] = _odd_value(rng)
                elif what == "text":
                    holder[name] = rng.choice(
                        ("[]", "{}", "[" * 100_000, '["a"]', '[{"x": 1}]', "[1, null]", "NaN", "1e999")
                    )
                elif what == "huge" and holder is file:
                    shape = rng.choice(((2**40,), (2**40, 3), (2**33, 2)))
                    file.create_dataset(name, shape, getattr(old, "dtype", "f4"), chunks=rng.choice((None, True)))
                elif what == "type" and numbers:
                    holder[name] = old.astype(
                        rng.choice(("f8", "f4", "i8", "i4", "u1", "i1", ">f4", ">i8", "f2", "S5"))
                    )
                elif what == "shape" and numbers:
                    holder[name] = rng.choice(
                        (old[:-1], old[:0], np.concatenate([old, old]), old[None], old.ravel(), old[..., None])
                    )
                elif what == "numbers" and numbers:
                    changed = old.copy()
                    odd = (-1, 0, 1, 49, 50, 51, 255, 2**31 - 1, -(2**31), 2**62, np.nan, np.inf, 1e30)
                    with np.errstate(all="ignore"):
                        for _ in range(rng.choice((1, 1, 3))):
                            place = rng.choice((0, -1, rng.randrange(changed.size)))
                            changed.ravel()[place] = np.array(rng.choice(odd)).astype(changed.dtype)
                    holder[name] = changed
            except (TypeError, ValueError, OSError, OverflowError, UnicodeError):
                done[-1] += " (gone)"  # what HDF5 cannot hold
    return buffer.getvalue(), " + ".join(done)


def _run_values(content, rng):
    return _checkpoint_values(content, rng, "training_state")


def _checkpoint_values(content, rng, part=None):
    """A checkpoint in which one to three values (of a part of it) are missing, doubled, or odd."""
    import torch

    tree, done = torch.load(io.BytesIO(content), weights_only=True), []
    for _ in range(rng.choice((1, 1, 2, 3))):
        holder, where = tree.get(part, tree), []
        if not isinstance(holder, dict) or not holder:
            break
        while True:
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            where.append(str(key))
            if not isinstance(holder[key], (dict, list)) or not holder[key] or rng.random() < 0.1:
                break
            holder = holder[key]
        what = rng.choice(("gone", "odd", "odd", "odd", "tensor", "tensor", "name"))
        done.append(f"{'/'.join(where)} {what}")
        value = holder.pop(key)
        if what == "odd":
            value = _odd_value(rng)
        elif what == "tensor":
            value = _odd_tensor(value, rng)
        if what == "name" and isinstance(holder, dict):
            holder[rng.choice(("x", "", 3, None, "module.x", "x" * 70_000, "backbone.99.body.gconv.nn.0.weight"))] = (
                value
            )
        elif what != "gone" and isinstance(holder, dict):
            holder[key] = value
        elif what != "gone":
            holder.insert(key, value)
        if not tree:
            break
    buffer = io.BytesIO()
    try:
        torch.save(tree, buffer)
    except (RuntimeError, UnicodeError, ValueError):
        return content, "nothing: what was chosen cannot be saved"
    return buffer.getvalue(), " + ".join(done)


def _predictions_values(content, rng):
    """Kept predictions in which an array is missing, odd, of another shape, or many times larger than its file."""
    import numpy as np

    arrays = dict(np.load(io.BytesIO(content)))
    name, what = rng.choice(sorted(arrays)), rng.choice(("gone", "odd", "type", "shape", "bomb", "object"))
    old = arrays.pop(name)
    if what == "odd":
        arrays[name] = np.array(_odd_value(rng), dtype=object)
    elif what == "type":
        arrays[name] = old.astype(rng.choice(("S5", "U5", "O")) if old.dtype.kind == "U" else rng.choice("bhifdDSUO"))
    elif what == "shape":
        arrays[name] = rng.choice((old[None], old.ravel()[:-1], old.ravel()[:0], np.concatenate([old.ravel()] * 2)))
    elif what == "bomb":
        arrays[name] = np.zeros(400 << 20, np.uint8)
    elif what == "object":
        arrays[name] = np.array([print], dtype=object)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue(), f"{name} {what}"


def _odd_tensor(value, rng):
    import torch

    value = value.clone() if isinstance(value, torch.Tensor) else torch.zeros(3)
    what = rng.randrange(12)
    if what == 0:
        return value.half()
    if what == 1:
        return value.to(rng.choice((torch.float64, torch.int64, torch.bool, torch.complex64, torch.bfloat16)))
    if what == 2:
        return value[None]
    if what == 3:
        return value.float().to_sparse()
    if what == 4:
        return torch.zeros(1).expand(2**40)
    if what == 5:
        return torch.empty(value.shape, device="meta")
    if what == 6:
        return torch.zeros(1).expand(value.shape)
    if what == 7:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch will drop them one day
            return torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8)
    if what == 8:
        return value.reshape(-1)[:0]
    if what == 9:
        return torch.nn.Parameter(value.float())
    flat = value.view(-1)
    if len(flat):
        flat[rng.randrange(len(flat))] = (
            rng.choice((-1, 0, 1))
            if not value.is_floating_point()
            else rng.choice((float("nan"), float("inf"), -1.0, 1e30))
        )
    return value


_VALUE_DAMAGES = {
    "room-values": _room_values, "checkpoint-values": _checkpoint_values, "official-values": _checkpoint_values,
    "pointnet-values": _pointnet_values, "predictions-values": _predictions_values, "run-values": _run_values,
}  # fmt: skip
_DAMAGES = (_flip, _flip, _cut, _cut, _drop, _double, _extreme, _extreme, _odd_number, _odd_number, _other_word,
            _lines, _lines, _line_ends, _encoding, _long_line, _tail)  # fmt: skip


# --- the worker -------------------------------------------------------------------------------------------------------


def read(kind, path):
    """Read a file of a kind as the program does. -> number of points, None where it has none"""
    return _READERS.get(kind.partition("-")[0], _read_scan)(path)


def _read_scan(path):
    from s3dis_seg.data.scans import read_scan

    scan = read_scan(path, units="m", up="z")
    for values in scan.columns.values():
        values[:].sum()  # columns may be views of the file, which are read only now
    return len(scan)


def _read_checkpoint(path, *network, **settings):
    """Everything that segmenting, scoring and beginning a run ask of a checkpoint."""
    import numpy as np

    from s3dis_seg.classes import CLASSES
    from s3dis_seg.cli.train import _settings_of
    from s3dis_seg.evaluation.rooms import held_out_rooms, overlap_warnings
    from s3dis_seg.models.checkpoint import load_checkpoint
    from s3dis_seg.segmentation import Segmenter
    from s3dis_seg.training.start import begin_with

    model, card = load_checkpoint(path, *network, **settings)
    held_out_rooms(card, [SimpleNamespace(name=ROOM, area=1)])
    overlap_warnings(card, [ROOM])
    if not network:
        begin_with(path, model, CLASSES)
        _settings_of(path, None, {})
        Segmenter(model, card, "cpu", stride=1.0)(np.random.default_rng(0).random((60, 3)))


def _read_official(path):
    _read_checkpoint(path, "resgcn7", channels=8)


def _read_predictions(path):
    """Kept predictions are told to be damaged, or can be scored."""
    from s3dis_seg.evaluation.predictions import load_predictions
    from s3dis_seg.metrics import confusion_matrix

    arrays, is_damaged = load_predictions(path, "key", 13, POINTS)
    if is_damaged:
        raise InputError("the kept predictions were damaged and have been made again")
    if arrays is not None:
        confusion_matrix(*arrays, 13)


def _read_split(path):
    from s3dis_seg.data.splits import split_rooms

    names = (ROOM, "Area_1_office_2", "Area_5_office_1")
    split_rooms([SimpleNamespace(name=name) for name in names], split_file=path)


def _read_pointnet(path):
    """Everything that training and evaluation ask of PointNet's blocks."""
    from s3dis_seg.data.blocks.datasets import blocks_as_published
    from s3dis_seg.data.rooms.open import open_rooms

    rooms = open_rooms(path.parent)
    for room in rooms:
        print(room.name, room.area, room.fingerprint())
    blocks = blocks_as_published(rooms, 0.5, 50)
    print(blocks.class_counts)
    for features, labels in (blocks[place] for place in range(len(blocks))):
        if not features.isfinite().all() or not (((labels >= 0) & (labels < 13)) | (labels == 255)).all():
            raise AssertionError("blocks that no network can learn")
    return sum(room.num_points for room in rooms)


def _read_source(path):
    """Find the room of a folder and prepare it, as `prepare` does."""
    from s3dis_seg.data.rooms.prepared import RoomFile, write_room
    from s3dis_seg.data.rooms.sources import find_sources

    folder = next(parent for parent in path.parents if parent.name in ("pointcept", "collected", "release"))
    (source,) = find_sources(folder)
    with tempfile.TemporaryDirectory() as prepared:
        return RoomFile(write_room(source.read(), prepared)).num_points


def _read_run(path):
    """Resume a run for one step, in a copy of its folder."""
    from s3dis_seg.models.checkpoint import load_checkpoint
    from s3dis_seg.training import stored_config, train

    with tempfile.TemporaryDirectory() as out:
        shutil.copy(path, out)
        asked = iter([False, False])
        train(stored_config(out), out, resume=True, device="cpu", stopping=lambda: next(asked, True))
        load_checkpoint(Path(out) / "last.pt")


def _read_room(path):
    """Read everything that training and evaluation ask of a prepared room, and the scan that it is."""
    from s3dis_seg.data.blocks.cloud import RoomPoints
    from s3dis_seg.data.blocks.columns import column_corners, column_points
    from s3dis_seg.data.rooms.prepared import RoomFile

    room = RoomFile(path)
    print(room.name, room.area, room.source, room.class_counts.sum(), room.repairs, room.offset, room.hi)
    room.room()
    room.profile.range([(0, len(room.cells.indices))])
    for grid in (0, 0.03):
        points = RoomPoints(room, grid)
        points.points_between((0.0, 0.0), (1.0, 1.0))
        column_points(points, column_corners(room.cells, room.hi, 1.0, 1.0)[0], 1.0, 20)
    return _read_scan(path)


_READERS = {
    "checkpoint": _read_checkpoint, "official": _read_official, "predictions": _read_predictions,
    "split": _read_split, "room": _read_room, "pointnet": _read_pointnet, "pointcept": _read_source,
    "collected": _read_source, "release": _read_source, "run": _read_run,
}  # fmt: skip


def _peak():
    """Bytes of memory that this process held at most since the last reset."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def _now():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work():
    """Read the files named on standard input, a kind and a path a line, and answer each with a line of JSON."""
    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        kind, path = line.rstrip("\n").split(" ", 1)
        path = Path(path)
        Path("/proc/self/clear_refs").write_text("5")
        before, answer = _now(), {}
        try:
            answer = {"outcome": "read", "points": read(kind, path)}
        except InputError as error:
            whole = "\n" not in str(error) and len(str(error)) < 1000
            answer = {"outcome": "sentence" if whole else "traceback", "why": f"InputError: {str(error)[:300]}"}
        except BaseException as error:  # native code raises panics that are no Exception
            frame = error.__traceback__
            while frame.tb_next is not None:
                frame = frame.tb_next
            where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
            answer = {"outcome": "traceback", "why": f"{type(error).__name__} in {where}: {str(error)[:150]}"}
        used = _peak() - before
        if used > MEMORY + 3 * path.stat().st_size:
            answer = {"outcome": "too much", "why": f"{used >> 20} MB"}
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    """A process that reads files one after another; when it dies or does not answer, it is started again."""

    def __init__(self):
        self.kind = self.warm = self.process = None

    def take_up(self, kind, warm):
        """From now on the files are of that kind. warm: a sound one."""
        self.kind, self.warm = kind, warm
        if self.process is not None:
            self.ask(warm, WARMING)

    def start(self):
        self.process = subprocess.Popen([sys.executable, __file__, "--worker"], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        self.ask(self.warm, WARMING)  # what a reader imports and compiles is not counted as time and memory of a file

    def ask(self, path, seconds=SECONDS):
        if self.process is None:
            self.start()
        self.process.stdin.write(f"{self.kind} {path}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            self.stop()
            return {"outcome": "too slow", "why": f"no answer in {seconds} s"}
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.stop()
        return {"outcome": "dead", "why": f"exit code {code}"}

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


# --- the run ----------------------------------------------------------------------------------------------------------


def fuzz(kinds, count, seed, keep=None):
    """Read `count` damaged files of every kind. Yields kind, Counter of outcomes, causes with their cases."""
    with tempfile.TemporaryDirectory() as name:
        sound, cases = Path(name, "sound"), Path(name, "cases")
        sound.mkdir()
        files = {kind: file for kind, file in valid_files(sound).items() if not kinds or _chosen(kind, kinds)}
        shutil.copytree(sound, cases)  # a file that is one of several is damaged beside the others
        worker = Worker()
        try:
            for kind, (valid, points) in files.items():
                worker.take_up(kind, valid)
                case = cases / valid.relative_to(sound)
                yield kind, *_fuzz_kind(worker, case, points, count, seed, keep)
        finally:
            worker.stop()


def _fuzz_kind(worker, case, points, count, seed, keep):
    """Damage a file again and again, where it lies. -> Counter of outcomes, causes with their cases"""
    content, kind = case.read_bytes(), worker.kind
    table, causes = collections.Counter(), collections.defaultdict(list)
    for number in range(count):
        changed, how = damaged(content, random.Random(f"{seed} {kind} {number}"), kind)
        case.unlink()
        case.write_bytes(changed)
        answer = worker.ask(case)
        outcome = answer["outcome"]
        table[outcome] += 1
        if outcome == "read" and answer["points"] != points:
            table["suspicious"] += 1
            outcome, answer["why"] = "suspicious", f"{answer['points']} points, not {points}"
        if outcome in (*FAILURES, "suspicious"):
            causes[f"{outcome}: {answer['why']}"].append((number, how))
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{outcome.replace(' ', '-')}-{kind}-{seed}-{number}{case.suffix}").write_bytes(changed)
    case.write_bytes(content)
    return table, causes


def _chosen(kind, kinds):
    return any(kind == wanted or kind.startswith(f"{wanted}-") for wanted in kinds)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="the same seed damages the same files in the same way")
    parser.add_argument("--count", type=int, default=200, help="damaged files of every kind")
    parser.add_argument("--only", nargs="+", metavar="FORMAT", help="kinds to try, such as ply, las, pcd-ascii")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder that gets the files that failed")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        work()
        return 0
    heads = ("tried", *OUTCOMES, "suspicious")
    print("| format | " + " | ".join(heads) + " |\n|---" + "|---" * len(heads) + "|")
    total = collections.Counter()
    told = []
    for kind, table, causes in fuzz(options.only, options.count, options.seed, options.keep):
        total += table
        _print_row(kind, table)
        told += [(len(cases), kind, cause, *cases[0]) for cause, cases in causes.items()]
    _print_row("all", total)
    for cases, kind, cause, number, how in sorted(told, reverse=True):
        print(f"{cases:5} x {kind}: {cause} (such as number {number}: {how})")
    return int(any(total[failure] for failure in FAILURES))


def _print_row(kind, table):
    tried = sum(table[outcome] for outcome in OUTCOMES)
    print(
        f"| {kind} | {tried} | " + " | ".join(str(table[name]) for name in (*OUTCOMES, "suspicious")) + " |", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
