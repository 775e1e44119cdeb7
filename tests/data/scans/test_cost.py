"""What writing takes, measured on a few points: the size comes out near that of the whole file."""

import numpy as np
import pytest

from s3dis_seg.classes import S3DIS
from s3dis_seg.data.scans import Scan, read_scan, write_scan
from s3dis_seg.data.scans.cost import cost_of_writing


def scan_of(count):
    rng = np.random.default_rng(0)
    return Scan((rng.random((count, 3)) * 4).astype(np.float32), rng.integers(0, 256, (count, 3)).astype(np.uint8))


@pytest.mark.parametrize(("suffix", "near"), [(".ply", 0.001), (".las", 0.001), (".laz", 0.2), (".csv", 0.05)])
def test_the_size_of_the_whole_is_told_from_a_few_points(tmp_path, suffix, near):
    scan, path = scan_of(60_000), tmp_path / f"a{suffix}"
    size, seconds = cost_of_writing(path, scan, classification=S3DIS if suffix in (".las", ".laz") else None)
    assert not path.exists() and seconds > 0
    scan.predictions = np.random.default_rng(1).integers(0, 13, 1200).astype(np.uint8).repeat(50)
    scan.confidence = np.random.default_rng(2).random(60_000, np.float32)
    write_scan(path, scan, classification=S3DIS if suffix in (".las", ".laz") else None)
    assert size == pytest.approx(path.stat().st_size, rel=near)


def test_a_scan_of_few_points_is_written_whole_and_a_file_never_shrinks(tmp_path):
    write_scan(tmp_path / "a.ply", scan_of(10))
    with open(tmp_path / "a.ply", "ab") as file:
        file.write(b"\0" * 5000)
    scan = read_scan(tmp_path / "a.ply")
    assert cost_of_writing(tmp_path / "b.ply", scan)[0] > 5000 > cost_of_writing(tmp_path / "b.csv", scan)[0]
