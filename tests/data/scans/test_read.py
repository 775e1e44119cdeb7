"""One way from a file to a Scan: units of scans that were segmented, names of colours, names of files."""

import numpy as np
import pytest

from s3dis_seg.data.scans import READABLE, WRITABLE, Scan, read_scan, write_scan
from s3dis_seg.files import InputError


def scan_of(count=50, factor=1.0):
    rng = np.random.default_rng(0)
    return Scan(rng.random((count, 3)) * 3 * factor, rng.integers(1, 256, (count, 3)).astype(np.uint8))


def with_predictions(scan):
    scan.predictions = np.arange(len(scan), dtype=np.uint8) % 13
    scan.confidence = np.full(len(scan), 0.5, np.float32)
    return scan


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize(("units", "name"), [("mm", "millimetres"), ("cm", "centimetres")])
def test_what_segment_wrote_is_read_in_the_units_it_was_given(tmp_path, suffix, units, name):
    factor = {"mm": 1000, "cm": 100}[units]
    given, out = tmp_path / f"given{suffix}", tmp_path / f"out{suffix}"
    write_scan(given, scan_of(factor=factor))
    scan = read_scan(given, units)
    write_scan(out, with_predictions(scan))
    again = read_scan(out)
    np.testing.assert_allclose(again.xyz, scan.xyz, atol=1e-6)
    np.testing.assert_allclose(again.columns["x"], scan.columns["x"])  # the file stays in its own units
    assert any(name in warning and "--units m" in warning for warning in again.warnings)
    np.testing.assert_allclose(read_scan(out, "m").xyz, scan.xyz * factor, atol=1e-4)
    np.testing.assert_allclose(read_scan(out, units).xyz, scan.xyz, atol=1e-6)


def test_nothing_is_said_about_the_units_of_a_segmented_scan_in_metres(tmp_path):
    write_scan(tmp_path / "a.ply", with_predictions(scan_of()))
    assert read_scan(tmp_path / "a.ply").warnings == []


def test_a_property_called_prediction_alone_is_none_of_ours(tmp_path):
    scan = scan_of(factor=500)  # 1.5 m in millimetres, or 15 m in centimetres
    write_scan(tmp_path / "a.ply", Scan(scan.xyz, columns={"prediction": np.zeros(50, np.uint8)}))
    with pytest.raises(InputError, match="--units mm"):
        read_scan(tmp_path / "a.ply")


@pytest.mark.parametrize(
    "names", [("Red", "Green", "Blue"), ("R", "G", "B"), ("Rf", "Gf", "Bf"), ("RED", "Green", "b")]
)
def test_colors_are_found_in_any_mixture_of_capitals(tmp_path, names):
    scan = scan_of()
    write_scan(tmp_path / "a.npy", Scan(scan.xyz, columns=dict(zip(names, scan.rgb.T / 255))))
    rgb = read_scan(tmp_path / "a.npy").rgb
    if names == ("RED", "Green", "b"):
        assert rgb is None  # from two sets of names
    else:
        np.testing.assert_array_equal(rgb, scan.rgb)


def test_names_with_capitals_are_moved_as_others_are(tmp_path):
    scan = scan_of()
    write_scan(tmp_path / "a.npy", Scan(scan.xyz, columns=dict(zip("RGB", scan.rgb.T))))
    segmented = with_predictions(read_scan(tmp_path / "a.npy"))
    write_scan(tmp_path / "b.npy", segmented)
    again = read_scan(tmp_path / "b.npy")
    assert {"scan_red", "scan_green", "scan_blue", "red"} <= set(again.columns)
    np.testing.assert_array_equal(again.rgb, scan.rgb)


@pytest.mark.parametrize("name", ["n" * 300 + ".ply", "a\0b.ply"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(InputError, match="cannot read"):
        read_scan(tmp_path / name)
    with pytest.raises(InputError, match="cannot write"):
        write_scan(tmp_path / name, scan_of())


def test_too_little_memory_is_one_sentence(tmp_path, monkeypatch):
    def too_large(path):
        raise MemoryError

    monkeypatch.setitem(read_scan.__globals__["_READERS"], ".ply", too_large)
    (tmp_path / "a.ply").write_bytes(b"ply")
    with pytest.raises(InputError, match="does not fit into memory"):
        read_scan(tmp_path / "a.ply")


def test_numbers_without_end_are_no_predictions_and_no_reason_to_stop(tmp_path):
    scan = scan_of(3)
    columns = {"prediction": np.array([np.inf, np.nan, 1]), "confidence": np.array([1e300, 0, 1])}
    write_scan(tmp_path / "a.txt", Scan(scan.xyz, columns=columns))
    assert read_scan(tmp_path / "a.txt").predictions is None
    columns["prediction"] = np.zeros(3)
    write_scan(tmp_path / "a.txt", Scan(scan.xyz, columns=columns))
    assert np.isinf(read_scan(tmp_path / "a.txt").confidence[0])


def test_what_is_kept_of_a_format_is_not_written_into_another(tmp_path):
    write_scan(tmp_path / "a.ply", scan_of())
    scan = read_scan(tmp_path / "a.ply")
    for suffix in WRITABLE:
        write_scan(tmp_path / f"b{suffix}", scan)
        np.testing.assert_array_equal(read_scan(tmp_path / f"b{suffix}").rgb, scan.rgb)
    assert set(WRITABLE) <= set(READABLE)


def test_attributes_of_another_length_are_not_written(tmp_path):
    scan = with_predictions(scan_of())
    scan.confidence = scan.confidence[:7]
    with pytest.raises(InputError, match="confidence has 7 values for 50 points"):
        write_scan(tmp_path / "a.ply", scan)
    assert not list(tmp_path.iterdir())
