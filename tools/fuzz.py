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
import json
import random
import re
import resource
import select
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

SECONDS = 10
MEMORY = 200 << 20
ADDRESSES = 16 << 30  # bytes of address space: what asks for more gets a MemoryError and does not stop the machine
OUTCOMES = ("sentence", "read", "traceback", "dead", "too slow", "too much")
FAILURES = OUTCOMES[2:]
POINTS = 50
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


# --- valid files ------------------------------------------------------------------------------------------------------


def valid_files(folder):
    """One small valid file of every kind. -> dict of kind: (path, number of points or None)"""
    import numpy as np

    rng = np.random.default_rng(0)
    xyz, rgb = rng.random((POINTS, 3)) * 3, rng.integers(1, 256, (POINTS, 3)).astype(np.uint8)
    labels = rng.integers(0, 13, POINTS).astype(np.uint8)
    files = {}
    for make in (_ply_files, _las_files, _array_files, _text_files, _pcd_files, _our_files):
        files |= make(folder, xyz, rgb, labels)
    return files


def _ply_files(folder, xyz, rgb, labels):
    import numpy as np
    from plyfile import PlyData, PlyElement

    vertices = np.zeros(POINTS, [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
    for place, (axis, color) in enumerate(zip("xyz", ("red", "green", "blue"))):
        vertices[axis], vertices[color] = xyz[:, place], rgb[:, place]
    faces = np.empty(4, [("vertex_indices", "O"), ("material", "i4")])
    faces["vertex_indices"] = [np.arange(3), np.arange(4), np.arange(3), np.arange(5)]
    elements = [PlyElement.describe(vertices, "vertex"), PlyElement.describe(faces, "face")]
    files = {}
    for kind, text, order in (("ply-ascii", True, "="), ("ply-little", False, "<"), ("ply-big", False, ">")):
        files[kind] = folder / f"{kind}.ply", POINTS
        PlyData(elements, text, order, ["made for tests"]).write(str(files[kind][0]))
    files["ply-faces-first"] = folder / "ply-faces-first.ply", POINTS
    PlyData(elements[::-1], False, "<").write(str(files["ply-faces-first"][0]))
    return files


def _las_files(folder, xyz, rgb, labels):
    import laspy
    import numpy as np

    files = {}
    for kind, version, form in (("las", "1.2", 3), ("las14", "1.4", 7), ("laz", "1.2", 3), ("laz14", "1.4", 7)):
        header = laspy.LasHeader(version=version, point_format=form)
        header.scales = np.full(3, 0.001)
        header.add_extra_dim(laspy.ExtraBytesParams("extra", np.float32))
        las = laspy.LasData(header)
        las.xyz, las.classification = xyz, labels
        las.red, las.green, las.blue = (rgb.astype(np.uint16) * 257).T
        files[kind] = folder / f"{kind}.{kind[:3]}", POINTS
        las.write(str(files[kind][0]))
    return files


def _array_files(folder, xyz, rgb, labels):
    import numpy as np

    np.save(folder / "npy.npy", np.concatenate([xyz, rgb], axis=1))
    record = np.zeros(POINTS, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("label", "u1")])
    np.save(folder / "npy-names.npy", record)
    np.savez(folder / "renamed.npz", xyz=xyz)
    (folder / "renamed.npz").rename(folder / "npz-renamed.npy")
    return {"npy": (folder / "npy.npy", POINTS), "npy-names": (folder / "npy-names.npy", POINTS),
            "npz-renamed": (folder / "npz-renamed.npy", None)}  # fmt: skip


def _text_files(folder, xyz, rgb, labels):
    files = {}
    for kind, mark, header in (("txt", " ", ""), ("xyz", " ", ""), ("csv", ",", "x,y,z,red,green,blue\n")):
        lines = (mark.join(map(str, (*map(float, point), *map(int, color)))) for point, color in zip(xyz, rgb))
        files[kind] = folder / f"{kind}.{kind}", POINTS
        files[kind][0].write_text(header + "\n".join(lines) + "\n")
    return files


def _pcd_files(folder, xyz, rgb, labels):
    import numpy as np

    colors = (rgb.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)).astype(np.uint32)
    table = np.zeros(POINTS, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
    for place, axis in enumerate("xyz"):
        table[axis] = xyz[:, place]
    table["rgb"] = colors
    columns = b"".join(table[name].tobytes() for name in table.dtype.names)
    packed = lzf_literals(columns)
    bodies = {
        "ascii": "\n".join(" ".join(map(str, row)) for row in table.tolist()).encode() + b"\n",
        "binary": table.tobytes(),
        "binary_compressed": struct.pack("<II", len(packed), len(columns)) + packed,
    }
    files = {}
    for form, body in bodies.items():
        header = (
            "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F U\n"
            f"COUNT 1 1 1 1\nWIDTH {POINTS}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {POINTS}\nDATA {form}\n"
        )
        kind = f"pcd-{form.removeprefix('binary_')}"
        files[kind] = folder / f"{kind}.pcd", POINTS
        files[kind][0].write_bytes(header.encode() + body)
    return files


def lzf_literals(content):
    """Bytes in the LZF format, without any reference back but for runs of zeros: enough for a small valid file."""
    out, place, pending = bytearray(), 0, bytearray()

    def flush():
        for start in range(0, len(pending), 32):
            part = pending[start : start + 32]
            out.append(len(part) - 1)
            out.extend(part)
        pending.clear()

    while place < len(content):
        run = 0
        while place and run < 8 and place + run < len(content) and content[place + run] == content[place - 1]:
            run += 1
        if run >= 3:
            flush()
            out.extend(((run - 2) << 5, 0))
            place += run
        else:
            pending.append(content[place])
            place += 1
    flush()
    return bytes(out)


def _our_files(folder, xyz, rgb, labels):
    import s3dis_seg
    from s3dis_seg.data.rooms.prepared import write_room
    from s3dis_seg.data.rooms.room import room_of
    from s3dis_seg.evaluation.predictions import save_predictions
    from s3dis_seg.models.card import Card
    from s3dis_seg.models.checkpoint import save_checkpoint

    write_room(room_of("Area_1_office_1", xyz, rgb, labels), folder)
    model = s3dis_seg.create_model("resgcn7")
    save_checkpoint(folder / "checkpoint.pt", model, Card("resgcn7", model.config))
    save_predictions(folder / "predictions.npz", "key", labels, labels)
    (folder / "split.split").write_text("[train]\nArea_1_office_*\n[val]\n[test]\nArea_5_*  # the usual one\n")
    return {"room": (folder / "Area_1_office_1.h5", POINTS), "checkpoint": (folder / "checkpoint.pt", None),
            "predictions": (folder / "predictions.npz", None), "split": (folder / "split.split", None)}  # fmt: skip


# --- damage -----------------------------------------------------------------------------------------------------------


def damaged(content, rng):
    """One to three kinds of damage. bytes, random.Random -> bytes, what was done"""
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


_DAMAGES = (_flip, _flip, _cut, _cut, _drop, _double, _extreme, _extreme, _odd_number, _odd_number, _other_word,
            _lines, _lines, _line_ends, _encoding, _long_line, _tail)  # fmt: skip


# --- the worker -------------------------------------------------------------------------------------------------------


def read(path):
    """Read a file as the program does. -> number of points, None where it has none"""
    if path.suffix == ".pt":
        from s3dis_seg.models.checkpoint import load_checkpoint

        return load_checkpoint(path) and None
    if path.suffix == ".npz":
        from s3dis_seg.evaluation.predictions import load_predictions

        return load_predictions(path, "key") and None
    if path.suffix == ".split":
        from types import SimpleNamespace

        from s3dis_seg.data.splits import split_rooms

        names = ("Area_1_office_1", "Area_1_office_2", "Area_5_office_1")
        return split_rooms([SimpleNamespace(name=name) for name in names], split_file=path) and None
    from s3dis_seg.data.scans import read_scan

    scan = read_scan(path, units="m")
    for values in scan.columns.values():
        values[:].sum()  # columns may be views of the file, which are read only now
    return len(scan)


def _peak():
    """Bytes of memory that this process held at most since the last reset."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def _now():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work():
    """Read the files named on standard input, one a line, and answer each with a line of JSON."""
    from s3dis_seg.files import InputError

    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        Path("/proc/self/clear_refs").write_text("5")
        before, answer = _now(), {}
        try:
            answer = {"outcome": "read", "points": read(path)}
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
    """A process that reads files one after another and is started again when it dies or does not answer."""

    def __init__(self, warm):
        self.warm, self.process = warm, None

    def start(self):
        self.process = subprocess.Popen([sys.executable, __file__, "--worker"], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        for path in self.warm:  # what a reader imports and compiles is not counted as time and memory of a file
            self.ask(path, 120)

    def ask(self, path, seconds=SECONDS):
        if self.process is None:
            self.start()
        self.process.stdin.write(f"{path}\n")
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
        folder = Path(name)
        files = {kind: file for kind, file in valid_files(folder).items() if not kinds or _chosen(kind, kinds)}
        for kind, (valid, points) in files.items():
            worker = Worker([valid])
            table, causes = collections.Counter(), collections.defaultdict(list)
            for number in range(count):
                content, how = damaged(valid.read_bytes(), random.Random(f"{seed} {kind} {number}"))
                path = folder / f"case{valid.suffix}"
                path.unlink(missing_ok=True)
                path.write_bytes(content)
                answer = worker.ask(path)
                outcome = answer["outcome"]
                table[outcome] += 1
                if outcome == "read" and answer["points"] != points:
                    table["suspicious"] += 1
                    outcome, answer["why"] = "suspicious", f"{answer['points']} points, not {points}"
                if outcome in (*FAILURES, "suspicious"):
                    causes[f"{outcome}: {answer['why']}"].append((number, how))
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{outcome.replace(' ', '-')}-{kind}-{seed}-{number}{valid.suffix}").write_bytes(
                            content
                        )
            worker.stop()
            yield kind, table, causes


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
