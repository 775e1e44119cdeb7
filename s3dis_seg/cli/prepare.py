"""Turn the downloaded S3DIS, or your own labelled scans, into one HDF5 file a room, which the other commands read.

RAW is the folder of the raw release (Area_1/office_1/Annotations/*.txt, aligned or not), a folder of Area_X_room.npy
files with 7 columns, or Pointcept's folders Area_1/office_1/coord.npy. An area or a single room will do as well.
RAW is never changed. Known faults of the release are repaired and listed in OUT/repairs.txt and OUT/repairs.json.
After an interruption the same command goes on where it was: finished rooms that are newer than their source are kept.

With --label-field or --classes, RAW is a labelled scan or a folder of them, in any format that `segment` reads. Each
becomes a room with your own classes, which a class file lists: a line a class, such as `tree #228b22 = 5, 64-70`.
Without a class file, the values in the scans are listed, and --write-classes writes a class file to start from.

With --corrections, RAW is a scan that `segment` wrote and `review` corrected, or a folder of them.

Examples:
  s3dis-seg prepare data/Stanford3dDataset_v1.2_Aligned_Version --out data/rooms
  s3dis-seg prepare data/collected_npy --out data/rooms --workers 4
  s3dis-seg prepare scans/ --label-field my_label --write-classes classes.txt
  s3dis-seg prepare scans/ --label-field my_label --classes classes.txt --out rooms/
  s3dis-seg prepare segmented.ply --corrections --out corrected/
  s3dis-seg prepare one.ply --label-field my_label --classes classes.txt --cut 0.2 --out rooms/
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from s3dis_seg.cli import own_classes, progress
from s3dis_seg.cli.options import number
from s3dis_seg.data.rooms.prepared import BYTES_PER_POINT, RoomFile, find_rooms, room_path, write_room
from s3dis_seg.data.rooms.release import find_strays
from s3dis_seg.data.rooms.room import area_of
from s3dis_seg.data.rooms.sources import find_sources
from s3dis_seg.files import InputError, locked, remove_unfinished, replacing

DEFAULT_OUT = Path("data/rooms")
_POINTS_PER_SECOND = 1.5e6  # read from text by one core, rather too low; only for the estimate


def add_arguments(parser):
    parser.add_argument(
        "raw", metavar="RAW", type=Path, help="folder of the release, of an area or of a room; or scans"
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder for the rooms (default: %(default)s)")
    parser.add_argument(
        "--workers",
        metavar="N",
        type=number(int, 0),
        help="processes; each reads one room at a time (default: the number of cores)",
    )
    parser.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="prepare finished rooms again (default: keep them)",
    )
    own_classes.add_arguments(parser)


@dataclass
class _Outcome:
    """What happened to the rooms: prepared now, kept from an earlier run, or damaged."""

    seconds: dict = field(default_factory=dict)  # room name -> seconds of one core
    kept: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    wall_seconds: float = 0.0


def run(arguments):
    raw, out = arguments.raw, arguments.out
    workers = _workers(arguments.workers)
    of_scans = own_classes.is_about_scans(arguments)
    if of_scans:
        sources = own_classes.sources_of(arguments)
        if sources is None:
            return
        release = raw
        own_classes.check_apart(sources, raw, out)
    else:
        sources = find_sources(raw)
        release = _release_of(sources)
        _check_apart(release, out)
    outcome = _Outcome()
    if not arguments.overwrite:
        outcome.kept = [source.name for source in sources if _is_finished(source, out)]
    todo = [source for source in sources if source.name not in set(outcome.kept)]
    _announce(todo, outcome.kept, out, workers)
    with locked(out):
        remove_unfinished(out)
        _prepare_all(todo, out, workers, outcome)
        rooms = [RoomFile(room_path(name, out)) for name in sorted([*outcome.kept, *outcome.seconds])]
        if of_scans:
            own_classes.report(rooms, outcome.kept)
        else:
            _report(rooms, raw, release, out, outcome)
        _tell_others(rooms, raw, out)
        _refuse_failures(sources, rooms, out, outcome)
        print(f"\nnext: {own_classes.next_command(out, arguments.corrections) if of_scans else _next_command(out)}")
        for room in rooms:
            room.close()


def _release_of(sources):
    """The folder in which the areas of some rooms lie. -> Path"""
    folder = Path(os.path.commonpath([source.path.resolve().parent for source in sources]))
    return folder.parent if folder.name.startswith("Area_") else folder


def _check_apart(release, out):
    """InputError where `out` lies inside of the release, except for data/rooms with the areas unpacked into data."""
    is_beside_areas = out == DEFAULT_OUT and out.resolve().parent == release
    if out.resolve().is_relative_to(release) and not is_beside_areas:
        raise InputError(f"--out {out} lies inside of {release}, which is never changed; name another folder")


def _workers(wanted):
    if wanted is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted < 1:
        raise InputError(f"--workers {wanted}: expected 1 or more")
    return wanted


def _is_finished(source, out):
    """Whether the room lies in `out` already: in this format, from this source, and newer than it."""
    path = room_path(source.name, out)
    if not path.exists() or path.stat().st_mtime < source.modified:
        return False
    room = RoomFile(path)
    try:
        found, classes = room.source, room.classes
    except InputError:  # damaged, or of another version of the format
        return False
    finally:
        room.close()
    if found != source.label:
        raise InputError(
            f"{path} was prepared from {found}, not from {source.label}; "
            "name another folder with --out, or replace it with --overwrite"
        )
    return classes == source.classes


def _announce(todo, kept, out, workers):
    """Print what will be done and how long it takes; InputError where the disk is too small."""
    if kept:
        print(f"{len(kept)} rooms are finished already and kept (--overwrite prepares them again)")
    if not todo:
        return
    points = sum(source.points for source in todo)
    needed = points * BYTES_PER_POINT
    place = next(parent for parent in (out.resolve(), *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed * 1.02:
        raise InputError(
            f"{len(todo)} rooms need about {_size(needed)} in {out}, but its disk has {_size(free)} left; "
            "free space, or name a folder on another disk with --out"
        )
    seconds = points / _POINTS_PER_SECOND / min(workers, len(todo))
    print(
        f"{len(todo)} rooms, about {points / 1e6:.1f} million points: {_size(needed)} on disk, "
        f"{_size(free)} free, about {progress.duration(seconds)} with {min(workers, len(todo))} processes"
    )


def _prepare_all(todo, out, workers, outcome):
    """Read and write every room, largest first, so that no long one is left for the end."""
    # The text parser gets one thread a process, because there are several processes.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    todo = sorted(todo, key=lambda source: -source.points)
    start = time.perf_counter()
    with progress.bar(sum(source.points for source in todo), "points", quiet=not todo) as bar:
        results = _in_processes(todo, out, workers) if min(workers, len(todo)) > 1 else _one_by_one(todo, out)
        for source, seconds, failure in results:
            if failure:
                outcome.failures.append(failure)
            else:
                outcome.seconds[source.name] = seconds
            bar.update(source.points)
    outcome.wall_seconds = time.perf_counter() - start


def _one_by_one(todo, out):
    for source in todo:
        yield source, *_prepare(source, out)


def _in_processes(todo, out, workers):
    # Spawned, because the threads of the text parser do not survive a fork.
    with ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), _begin_worker) as pool:
        sources = {pool.submit(_prepare, source, out): source for source in todo}
        try:
            for future in as_completed(sources):
                yield sources[future], *future.result()
        except BrokenProcessPool:
            raise InputError(
                "a process ended without an error, most likely because memory ran out; finished rooms are kept: "
                "run the command again with fewer --workers"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker():
    """Leave Ctrl-C to the main process, which lets the present rooms finish; end when the main process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent_process().sentinel,), daemon=True).start()


def _end_with(parent):
    """End this process as soon as its parent has ended, by whatever signal."""
    wait([parent])
    os._exit(1)


def _prepare(source, out):
    """Read a room and write it. -> seconds, None or what is wrong with it; InputError if it cannot be written"""
    start = time.perf_counter()
    try:
        room = source.read()
    except InputError as error:
        return 0.0, str(error)
    write_room(room, out)
    return time.perf_counter() - start, None


def _report(rooms, raw, release, out, outcome):
    """Print the tables and write the repairs."""
    repairs = [("", repair) for repair in find_strays(raw) if (release / repair.file).resolve() != out.resolve()]
    repairs += [(room.name, repair) for room in rooms for repair in room.repairs]
    if rooms:
        _write_repairs(repairs, out)
        _print_rooms(rooms, outcome)
        own_classes.print_classes(rooms)
    print(f"\n{len(repairs)} repairs" + (f", listed in {out / 'repairs.txt'}:" if repairs else ""))
    for _, repair in repairs:
        print(f"  {repair}")


def _tell_others(rooms, raw, out):
    others = len(find_rooms(out)) - len(rooms) if rooms else 0
    if others > 0:
        print(f"{out} also holds {others} rooms that are not part of {raw}; other commands will use them too")


def _refuse_failures(sources, rooms, out, outcome):
    """InputError naming every damaged room."""
    if outcome.failures:
        raise InputError(
            f"{len(outcome.failures)} of {len(sources)} rooms could not be prepared"
            + (f" (the other {len(rooms)} are in {out}):" if rooms else ":")
            + "".join(f"\n  {failure}" for failure in sorted(outcome.failures))
        )


def _next_command(out):
    """The command that trains on these rooms, with area 5 for testing if there is one. -> text"""
    command = f"s3dis-seg train --data {shlex.quote(str(out))} --model resgcn28"
    areas = sorted({area_of(path.stem) for path in find_rooms(out)} - {None})
    if len(areas) < 2:
        return f"{command} --out runs/first"
    area = 5 if 5 in areas else areas[-1]
    return f"{command} --test-area {area} --out runs/area{area}"


def _write_repairs(repairs, out):
    with replacing(out / "repairs.json") as temporary:
        entries = [{"room": room, **asdict(repair)} for room, repair in repairs]
        temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    with replacing(out / "repairs.txt") as temporary:
        lines = "".join(f"{repair}\n" for _, repair in repairs)
        temporary.write_text(lines, encoding="utf-8", errors="backslashreplace")  # names of files may be no UTF-8


def _print_rooms(rooms, outcome):
    """Print rooms, points and speed by area. Seconds are those of one core; the last row is wall time."""
    print(f"\n{'area':<10}{'rooms':>7}{'kept':>7}{'points':>15}{'seconds':>10}{'points/s':>13}")
    by_area = {}
    for room in rooms:
        by_area.setdefault("-" if room.area is None else f"Area_{room.area}", []).append(room)
    for area, members in by_area.items():
        seconds = sum(outcome.seconds.get(room.name, 0.0) for room in members)
        print(_row(area, members, outcome, seconds))
    print(_row("all", rooms, outcome, outcome.wall_seconds))


def _row(title, rooms, outcome, seconds):
    points = sum(room.num_points for room in rooms)
    fresh = [room for room in rooms if room.name in outcome.seconds]
    speed = f"{sum(room.num_points for room in fresh) / seconds:,.0f}" if fresh else "-"
    return f"{title:<10}{len(rooms):>7}{len(rooms) - len(fresh):>7}{points:>15,}{seconds:>10.1f}{speed:>13}"


def _size(num_bytes):
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
