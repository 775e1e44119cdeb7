"""Arrays of numpy: what is read, and one sentence about everything else."""

import io

import numpy as np
import pytest

from s3dis_seg.data.scans import Scan, read_scan, write_scan
from s3dis_seg.data.scans.npy import read
from s3dis_seg.files import InputError


def saved(path, array, **options):
    with open(path, "wb") as file:
        np.save(file, array, **options)
    return path


def with_header(path, header, body=b"\0" * 240):
    """A .npy file of version 1.0 with that header, valid or not."""
    header = header.encode("latin-1")
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body)
    return path


def xyz_and(name, kind):
    return np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4"), (name, kind)])


@pytest.mark.parametrize(("array", "message"), [
    (xyz_and("name", "U8"), "field 'name' of <U8"),
    (xyz_and("name", "S8"), "field 'name'"),
    (xyz_and("inner", [("a", "f4"), ("b", "f4")]), "field 'inner'"),
    (xyz_and("normal", ("f4", 3)), "field 'normal'"),
    (xyz_and("phase", "c8"), "field 'phase'"),
    (xyz_and("when", "M8[s]"), "field 'when'"),
    (xyz_and("long", "f16"), "field 'long'"),
    (xyz_and("a" * 1000, "U8"), "field 'aaaa"),
    (np.zeros((2, 2), [("x", "f4"), ("y", "f4"), ("z", "f4")]), "named fields"),
    (np.zeros((), [("x", "f4"), ("y", "f4"), ("z", "f4")]), "named fields"),
    (np.array([["a", "b", "c"]]), "expected numbers"),
    (np.zeros((3, 3), bool), "expected numbers"),
    (np.zeros((3, 3), complex), "expected numbers"),
    (np.zeros((3, 3), "f16"), "expected numbers"),
    (np.zeros(3), "expected numbers"),
    (np.zeros((3, 3, 3)), "expected numbers"),
    (np.zeros((3, 200)), "200 columns"),
    (np.zeros((0, 3)), "no points"),
    (np.zeros((0, 3), "V0"), "expected numbers|damaged"),
])  # fmt: skip
def test_arrays_that_are_no_points(tmp_path, array, message):
    with pytest.raises(InputError, match=message) as error:
        read_scan(saved(tmp_path / "a.npy", array))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


class Payload:
    def __reduce__(self):
        return pytest.fail, ("was unpickled",)


@pytest.mark.parametrize(
    "array", [np.array([Payload()], object), np.array([(1, Payload())], [("x", "f4"), ("o", "O")])]
)
def test_objects_are_not_unpickled(tmp_path, array):
    with pytest.raises(InputError, match=r"damaged or no \.npy array"):
        read_scan(saved(tmp_path / "a.npy", array, allow_pickle=True))


def test_a_renamed_npz_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", xyz=np.eye(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(InputError, match=r"is an \.npz archive"):
        read_scan(tmp_path / "a.npy")


@pytest.mark.parametrize("header", [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-5, -3), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 3), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999, 3), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 3), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 4400 + ", 3), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (3.5, 3), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': 'many', }",
    "{'descr': '|V0', 'fortran_order': False, 'shape': (999999999, 3), }",
    "{'descr': '<f99', 'fortran_order': False, 'shape': (10, 3), }",
    "{'descr': [('x', '<f8'), ('x', '<f8')], 'fortran_order': False, 'shape': (10,), }",
    "{'descr': ('<f8', (3, 1000000000)), 'fortran_order': False, 'shape': (10,), }",
    "{'descr': {}, 'fortran_order': False, 'shape': (10, 3), }",
    "{'descr': '<f8', 'fortran_order': 7, 'shape': (10, 3), }",
    "{'descr': '<f8', 'shape': (10, 3)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (10, 3",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (10, 3), '''",
    "(" * 9000,
    "[" * 300,
    "open('x')",
    "\\",
    "\0\0\0",
    "",
])  # fmt: skip
def test_headers_that_are_damaged_or_absurd(tmp_path, header):
    path = with_header(tmp_path / "a.npy", header)
    with pytest.raises(InputError, match=r"damaged|expected numbers|no points") as error:
        read_scan(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_file_cut_anywhere_is_refused(tmp_path):
    content = saved(tmp_path / "a.npy", np.eye(3)).read_bytes()
    for length in range(1, len(content)):
        (tmp_path / "b.npy").write_bytes(content[:length])
        with pytest.raises(InputError):
            read_scan(tmp_path / "b.npy")


def test_numbers_after_the_array_are_not_left_out_without_a_word(tmp_path):
    path = tmp_path / "a.npy"
    for more in (b"\0", saved(path, np.eye(3)).read_bytes()):
        saved(path, np.eye(3)).write_bytes(path.read_bytes() + more)
        with pytest.raises(InputError, match="goes on after its array of shape"):
            read_scan(path)


def test_damaged_files_give_a_scan_or_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    for array in (rng.random((20, 6)), xyz_and("label", "i1")):
        buffer = io.BytesIO()
        np.save(buffer, array)
        for _ in range(200):
            bad = bytearray(buffer.getvalue())
            for place in rng.integers(0, 130, 2):
                bad[place] = rng.integers(0, 256)
            (tmp_path / "a.npy").write_bytes(bad)
            try:
                read_scan(tmp_path / "a.npy", units="m")
            except InputError as error:
                assert "\n" not in str(error)


def test_an_array_is_not_copied_and_both_orders_and_byte_orders_are_read(tmp_path):
    xyz = np.random.default_rng(0).random((10, 3))
    for array in (xyz, np.asfortranarray(xyz), xyz.astype(">f8")):
        columns, source = read(saved(tmp_path / "a.npy", array))
        assert source is None and all(not values.flags.owndata for values in columns.values())
        np.testing.assert_array_equal(read_scan(tmp_path / "a.npy").xyz, xyz)


def test_names_of_every_alphabet_are_kept(tmp_path):
    names = ["a b", "Intensität", "強度", "n" * 300]
    write_scan(tmp_path / "a.npy", Scan(np.eye(3), columns={name: np.arange(3) for name in names}))
    assert list(read_scan(tmp_path / "a.npy").columns)[3:] == names
