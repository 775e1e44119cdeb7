"""The tool that writes a scan of any size: the same points in every format, as many as were asked for."""

import sys
from pathlib import Path

import numpy as np
import pytest

from s3dis_seg.data.scans import read_scan

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))


def test_a_building_of_rooms_is_the_same_in_every_format(tmp_path, capsys):
    from large_scan import main

    paths = [tmp_path / f"building{suffix}" for suffix in (".ply", ".las")]
    main(["--points", "5000", "--area", "60", "--rooms", "2", "--out", *map(str, paths)])
    assert capsys.readouterr().out.count("5,000 points") == 2
    ply, las = (read_scan(path, units="m", up="z") for path in paths)
    assert len(ply) == len(las) == 5000
    np.testing.assert_allclose(ply.xyz, las.xyz, atol=1e-4)
    np.testing.assert_array_equal(ply.rgb, las.rgb)
    assert (np.ptp(ply.xyz[:, :2], axis=0) > (8, 5)).all(), "rooms stand side by side"


def test_more_points_than_any_scan_has_are_refused(tmp_path, capsys):
    from large_scan import main

    with pytest.raises(SystemExit) as end:
        main(["--points", "5000000", "--area", "20", "--out", str(tmp_path / "a.ply")])
    assert end.value.code == 2 and "denser than any scan" in capsys.readouterr().err
