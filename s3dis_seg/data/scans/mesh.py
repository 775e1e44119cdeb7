"""Meshes (.obj, .glb, .gltf, .stl, .off) through trimesh: their vertices, or points drawn on their faces.

trimesh and not open3d: it is Python alone, so that a damaged file cannot end the process, and it keeps the colours of
textures. Colours are those of the vertices, of the faces, or of the texture at the point. Letters: P points.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from s3dis_seg.files import InputError

SUFFIXES = (".obj", ".glb", ".gltf", ".stl", ".off")
WITH_FACES = (*SUFFIXES, ".ply")  # of which points can be drawn
_SPARSE = 0.02  # mean distance of vertices, as a fraction of the length of the mesh, from which sampling is advised
_FACES_LOOKED_AT = 100_000
_GREY = 128


@dataclass
class MeshFile:
    """What is told about a file. up: the axis that points upwards, where the format says so."""

    notes: list = field(default_factory=list)
    up: str | None = None


@dataclass
class _Part:
    """One mesh of a file: vertices (V, 3) in the frame of the file, triangles (F, 3), and what trimesh made of it."""

    vertices: np.ndarray
    faces: np.ndarray
    mesh: Any


def read(path, sample=None):
    """Read a mesh. -> columns (x, y, z, and red, green, blue where it has colours), MeshFile

    sample: number of points to draw on the faces, evenly by area, the same ones every time; None takes the vertices.
    Raises InputError where the file is damaged, has no vertices, or no faces to draw points on.
    """
    parts = _parts(path)
    notes = []
    if sample is None:
        points = [(part.vertices, _vertex_colors(part.mesh)) for part in parts]
        notes += _sparse(parts)
    else:
        points = _sampled(path, parts, sample)
    columns = dict(zip("xyz", np.concatenate([xyz for xyz, _ in points]).T))
    rgb = _colors(points)
    if rgb is not None:
        columns |= dict(zip(("red", "green", "blue"), rgb.T))
    return columns, MeshFile(notes, "y" if path.suffix.lower() in (".glb", ".gltf") else None)


def _parts(path):
    """All meshes of a file in one frame of coordinates, those without vertices left out."""
    try:
        import trimesh
    except ImportError as error:
        raise InputError(f"{path}: meshes need trimesh; run: pip install trimesh") from error
    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # what it says is told as a sentence
    suffix = path.suffix.lower()
    try:
        with np.errstate(all="ignore"):
            scene = trimesh.load_scene(str(path), file_type=suffix[1:], process=False)
            parts = [_part(scene, node, suffix) for node in scene.graph.nodes_geometry]
    except MemoryError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is damaged or no {suffix[1:].upper()} mesh ({said}); export it again") from error
    parts = [part for part in parts if len(part.vertices)]
    if not parts:
        raise InputError(f"{path} is damaged or has no vertices; export it again")
    return parts


def _part(scene, node, suffix):
    pose, name = scene.graph[node]
    mesh = scene.geometry[name]
    if suffix == ".stl":  # which repeats the vertices for every face
        mesh.merge_vertices()
    vertices = np.asarray(getattr(mesh, "vertices", np.empty((0, 3))), np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"vertices of shape {vertices.shape}")
    faces = np.asarray(getattr(mesh, "faces", np.empty((0, 3), int)))
    if faces.ndim != 2 or faces.shape[1] != 3:  # none
        faces = np.empty((0, 3), int)
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ValueError("a face names a vertex that is not there")
    if not np.array_equal(pose, np.eye(4)):
        vertices = vertices @ pose[:3, :3].T + pose[:3, 3]
    return _Part(vertices, faces, mesh)


def _areas(part, step=1):
    """Area of every triangle, or of every `step`-th. -> (F,)"""
    faces = part.faces[::step]
    first = part.vertices[faces[:, 0]]
    areas = np.linalg.norm(np.cross(part.vertices[faces[:, 1]] - first, part.vertices[faces[:, 2]] - first), axis=1) / 2
    return np.nan_to_num(areas, posinf=0)


def _sparse(parts):
    """Advise to draw points where the vertices are too far apart to stand for the surface. -> list of sentences"""
    area = 0.0
    for part in parts:
        step = max(1, len(part.faces) // _FACES_LOOKED_AT)
        area += step * float(_areas(part, step).sum())
    xyz = np.concatenate([part.vertices for part in parts])
    xyz = xyz[np.isfinite(xyz).all(axis=1)]
    if not len(xyz) or not area:
        return []
    distance, length = np.sqrt(area / len(xyz)), float(np.ptp(xyz, axis=0).max())
    if distance < _SPARSE * length:
        return []
    return [f"its {len(xyz):,} vertices are far apart ({distance:.2g} on average): "
            "add --sample 1000000 to take points on its faces"]  # fmt: skip


def _sampled(path, parts, sample):
    """Points on the faces, as many for each part as its area says. -> list of (xyz, rgb or None)"""
    areas = [_areas(part) for part in parts]
    total = sum(float(area.sum()) for area in areas)
    if total <= 0:
        raise InputError(f"{path} has no faces to draw points on; leave out --sample, and its vertices are taken")
    ends = np.rint(np.cumsum([area.sum() for area in areas]) / total * sample).astype(int)
    rng = np.random.default_rng(0)
    counts = np.diff(ends, prepend=0)
    return [_points_on(part, area, count, rng) for part, area, count in zip(parts, areas, counts) if count]


def _points_on(part, areas, count, rng):
    """-> (count, 3) points, their (count, 3) colours or None"""
    sums = np.cumsum(areas)
    ranks = np.sort(rng.random(count)) * sums[-1]  # sorted, so that memory is read in its order
    faces = part.faces[np.minimum(np.searchsorted(sums, ranks, "right"), len(sums) - 1)]
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - root, root * (1 - along), root * along], axis=1)  # of the corners, even on the triangle

    def mixed(values):
        return sum(values[faces[:, corner]] * weights[:, corner, None] for corner in range(3))

    xyz = mixed(part.vertices)
    if _image(part.mesh) is not None:
        return xyz, np.asarray(part.mesh.visual.material.to_color(mixed(part.mesh.visual.uv)))[:, :3]
    rgb = _vertex_colors(part.mesh)
    return xyz, None if rgb is None else np.clip(np.rint(mixed(rgb)), 0, 255).astype(np.uint8)


def _image(mesh):
    """The texture of a mesh, None where it has none."""
    visual = getattr(mesh, "visual", None)
    if getattr(visual, "kind", None) != "texture" or visual.uv is None or len(visual.uv) != len(mesh.vertices):
        return None
    material = visual.material
    image = getattr(material, "baseColorTexture", None)
    return image if image is not None else getattr(material, "image", None)


def _vertex_colors(mesh):
    """-> (number of vertices, 3) uint8, or None"""
    visual = getattr(mesh, "visual", None)
    if visual is None:  # points without faces
        rgb = getattr(mesh, "colors", None)
    elif visual.kind == "texture":
        rgb = visual.to_color().vertex_colors if _image(mesh) is not None else _material_color(mesh)
    else:
        rgb = visual.vertex_colors if visual.kind in ("vertex", "face") else None
    rgb = None if rgb is None else np.asarray(rgb)
    return rgb[:, :3].astype(np.uint8) if rgb is not None and rgb.shape[:1] == (len(mesh.vertices),) else None


def _material_color(mesh):
    color = getattr(mesh.visual.material, "main_color", None)
    return None if color is None else np.tile(np.asarray(color, np.uint8)[:3], (len(mesh.vertices), 1))


def _colors(parts):
    """The colours of all parts, grey for those without. One colour alone, as of a default material, is none."""
    if all(rgb is None for _, rgb in parts):
        return None
    rgb = np.concatenate([np.full((len(xyz), 3), _GREY, np.uint8) if rgb is None else rgb for xyz, rgb in parts])
    return None if (rgb == rgb[0]).all() else rgb
