"""Meshes: the vertices of files that other programs wrote, points on their faces, and colours of textures."""

import numpy as np
import pytest

from s3dis_seg.data.scans import Scan, read_scan, write_scan
from s3dis_seg.files import InputError

trimesh = pytest.importorskip("trimesh")
SUFFIXES = [".obj", ".glb", ".stl", ".off"]


def box(colors=True):
    mesh = trimesh.creation.box((5, 4, 3)).subdivide().subdivide()
    if colors:
        rgba = np.random.default_rng(0).integers(0, 256, (len(mesh.vertices), 4)).astype(np.uint8)
        rgba[:, 3] = 255
        mesh.visual.vertex_colors = rgba
    return mesh


def in_order(xyz):
    return xyz[np.lexsort(np.round(xyz, 5).T)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_vertices_of_every_format(tmp_path, suffix):
    mesh = box()
    mesh.export(tmp_path / f"a{suffix}")
    scan = read_scan(tmp_path / f"a{suffix}", up="z")
    np.testing.assert_allclose(in_order(scan.xyz), in_order(mesh.vertices), atol=1e-6)
    assert any("98 vertices are far apart" in warning and "--sample" in warning for warning in scan.warnings)
    if suffix in (".obj", ".glb"):
        np.testing.assert_array_equal(in_order(scan.rgb), in_order(mesh.visual.vertex_colors[:, :3]))
    else:
        assert scan.rgb is None


@pytest.mark.parametrize("suffix", [".obj", ".gltf", ".glb", ".stl", ".off", ".ply"])
def test_files_that_open3d_wrote(tmp_path, suffix):
    open3d = pytest.importorskip("open3d")
    mesh = open3d.geometry.TriangleMesh.create_box(5, 4, 3).subdivide_midpoint(2)
    mesh.vertex_colors = open3d.utility.Vector3dVector(np.random.default_rng(0).random((len(mesh.vertices), 3)))
    if suffix == ".stl":
        mesh.compute_triangle_normals()
    open3d.io.write_triangle_mesh(str(tmp_path / f"a{suffix}"), mesh)
    scan = read_scan(tmp_path / f"a{suffix}", up="z")
    np.testing.assert_allclose(in_order(scan.xyz), in_order(np.asarray(mesh.vertices)), atol=1e-6)
    sampled = read_scan(tmp_path / f"a{suffix}", up="z", sample=500)
    assert len(sampled) == 500 and (sampled.rgb is None) == (suffix in (".stl", ".off"))


def test_points_lie_evenly_on_the_faces_and_are_the_same_every_time(tmp_path):
    box(colors=False).export(tmp_path / "a.obj")
    scan = read_scan(tmp_path / "a.obj", sample=9400)
    assert len(scan) == 9400
    on = np.isclose(np.abs(scan.xyz), (2.5, 2, 1.5))
    assert (on.sum(axis=1) >= 1).all()
    np.testing.assert_allclose(on.sum(axis=0), [2400, 3000, 4000], rtol=0.1)  # areas 24, 30, 40 square metres
    np.testing.assert_array_equal(read_scan(tmp_path / "a.obj", sample=9400).xyz, scan.xyz)


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_colors_of_a_texture(tmp_path, suffix):
    image = pytest.importorskip("PIL.Image")
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    picture = image.fromarray(np.dstack([ramp, ramp.T, np.full_like(ramp, 7)]))
    corners = np.array([[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0.0]])
    visual = trimesh.visual.TextureVisuals(uv=corners[:, :2] / 4, image=picture)
    mesh = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)
    mesh.export(tmp_path / f"a{suffix}")
    scan = read_scan(tmp_path / f"a{suffix}", sample=1000, up="z", units="m")
    np.testing.assert_allclose(scan.rgb[:, 0], scan.xyz[:, 0] / 4 * 255, atol=1)
    np.testing.assert_allclose(scan.rgb[:, 1], 255 - scan.xyz[:, 1] / 4 * 255, atol=1)


def test_parts_of_a_scene_lie_where_it_puts_them(tmp_path):
    scene = trimesh.Scene()
    for x in (0, 10):
        scene.add_geometry(
            trimesh.creation.box((1, 1, 1)), transform=trimesh.transformations.translation_matrix([x, 0, 0])
        )
    scene.export(tmp_path / "a.glb")
    xyz = read_scan(tmp_path / "a.glb", up="z").xyz
    assert len(xyz) == 16 and np.ptp(xyz[:, 0]) == 11


def test_vertices_without_faces_and_with_colors_from_0_to_1(tmp_path):
    (tmp_path / "a.obj").write_text("# a scan\nv 1 2 3 0.1 0.2 0.3\nv 4 5 6 0.5 0.6 0.7\nv 4 5 8 1 1 1\n")
    scan = read_scan(tmp_path / "a.obj")
    np.testing.assert_array_equal(scan.xyz, [[1, 2, 3], [4, 5, 6], [4, 5, 8]])
    np.testing.assert_array_equal(scan.rgb[2], [255, 255, 255])
    with pytest.raises(InputError, match="no faces to draw points on"):
        read_scan(tmp_path / "a.obj", sample=10)


def test_gltf_has_y_upwards_and_the_output_keeps_its_axes(tmp_path):
    box().export(tmp_path / "a.glb")
    scan = read_scan(tmp_path / "a.glb")
    np.testing.assert_allclose(np.ptp(scan.xyz, axis=0), [5, 3, 4])
    assert any("y points upwards" in warning for warning in scan.warnings)
    write_scan(tmp_path / "b.ply", scan)
    np.testing.assert_allclose(read_scan(tmp_path / "b.ply").xyz, np.stack([scan.columns[axis] for axis in "xyz"], 1))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.obj", "hello\n", "damaged or has no vertices|no OBJ mesh"),
    ("a.obj", "v 1 2\n", "no OBJ mesh"),
    ("a.obj", "v 1 2 3\nv 1 2 4\nf 1 2 9\n", "no OBJ mesh"),
    ("a.glb", "glTF", "no GLB mesh"),
    ("a.gltf", "{}", "no GLTF mesh|no vertices"),
    ("a.stl", "solid nothing\nendsolid\n", "no STL mesh|no vertices"),
    ("a.off", "OFF\n9 9 9\n", "no OFF mesh"),
])  # fmt: skip
def test_what_is_no_mesh_is_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_scan(tmp_path / name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_points_can_only_be_drawn_where_there_may_be_faces(tmp_path):
    write_scan(tmp_path / "a.npy", Scan(np.eye(3)))
    with pytest.raises(InputError, match="leave out --sample"):
        read_scan(tmp_path / "a.npy", sample=10)
