"""A scan as large as one likes, for measuring: `python tools/large_scan.py --points 100000000 --out building.las`.

Furnished synthetic rooms stand side by side on a square floor, at most 120,000 points a square metre. A few rooms are
made and then repeated, turned, with fresh noise. The suffix of --out decides: .ply (binary, float32) or .las, .laz.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s3dis_seg.files import InputError, replacing
from s3dis_seg.synthetic.rooms import synthetic_room

ROOM_AREA, PITCH = 20.0, (6.3, 5.5)  # square metres of a room in the mean; metres from one room to the next
DENSEST = 120_000  # points a square metre of floor, as in S3DIS
POINTS_OF_ROOM = 150  # times the density of a synthetic room
NOISE = 0.002  # metres


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000_000, help="points of the scan (default: %(default)s)")
    parser.add_argument("--area", type=float, default=900.0, help="square metres of floor (default: %(default)s)")
    parser.add_argument("--rooms", type=int, default=6, help="different rooms (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, nargs="+", help="one or more files for the same points")
    arguments = parser.parse_args(argv)
    if arguments.points > DENSEST * arguments.area:
        parser.error(f"{arguments.points:,} points on {arguments.area:g} m2 are denser than any scan; give more --area")
    for path in arguments.out:
        with replacing(path) as temporary:
            writer = {".ply": write_ply, ".las": write_las, ".laz": write_las}.get(path.suffix)
            if writer is None:
                raise InputError(f"cannot write {path.suffix!r}; known: .ply, .las, .laz")
            writer(temporary, arguments.points, building(arguments))
        print(f"wrote {path}: {arguments.points:,} points, {path.stat().st_size / 1e6:,.0f} MB")


def building(arguments):
    """The points of one room after the other. Yields xyz (n, 3) float64 metres, rgb (n, 3) uint8"""
    rng = np.random.default_rng(arguments.seed)
    spots = math.ceil(arguments.area / ROOM_AREA)
    each = np.diff(np.linspace(0, arguments.points, spots + 1).astype(int))
    kinds = ("office", "lounge", "conferenceRoom")
    rooms = []
    for number in range(min(arguments.rooms, spots)):
        density = 1.3 * each.max() / POINTS_OF_ROOM
        room = synthetic_room((arguments.seed, number), density, f"Area_1_{kinds[number % 3]}_1")
        rooms.append((room.xyz, room.rgb))
    side = math.ceil(math.sqrt(spots))
    for spot, count in enumerate(each):
        xyz, rgb = rooms[spot % len(rooms)]
        chosen = rng.permutation(len(xyz))[:count]
        chosen = np.concatenate([chosen, rng.integers(0, len(xyz), count - len(chosen))])
        xyz = xyz[chosen] + rng.normal(0, NOISE, (count, 3)).astype(np.float32)
        if spot // len(rooms) % 2:
            xyz[:, :2] = (PITCH[0] - 0.3, PITCH[1] - 0.3) - xyz[:, :2]
        corner = np.array([spot % side * PITCH[0], spot // side * PITCH[1], 0])
        yield xyz + corner, rgb[chosen]


def write_ply(path, count, parts):
    names = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}", *(f"property {n}" for n in names)]
    record = np.dtype([(axis, "<f4") for axis in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")])
    with open(path, "wb") as file:
        file.write("\n".join([*lines, "end_header", ""]).encode())
        for xyz, rgb in parts:
            rows = np.empty(len(xyz), record)
            for place, (axis, color) in enumerate(zip("xyz", ("red", "green", "blue"))):
                rows[axis], rows[color] = xyz[:, place], rgb[:, place]
            rows.tofile(file)


def write_las(path, count, parts):
    import laspy

    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales, header.offsets = np.full(3, 0.0001), np.zeros(3)
    with laspy.open(path, "w", header=header) as file:
        for xyz, rgb in parts:
            points = laspy.ScaleAwarePointRecord.zeros(len(xyz), header=header)
            points.x, points.y, points.z = xyz.T
            points.red, points.green, points.blue = rgb.T.astype(np.uint16) * 257
            file.write_points(points)


if __name__ == "__main__":
    main()
