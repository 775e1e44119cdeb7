"""PCD files through open3d. Letters: P points."""

from s3dis_seg.files import InputError

_RGB = ("red", "green", "blue")


def read(path):
    """Read a PCD file. -> columns (name -> (P,) array), None"""
    import open3d

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.t.io.read_point_cloud(str(path))
    if "positions" not in cloud.point or len(cloud.point["positions"]) == 0:
        raise InputError(f"{path} is not a PCD file that can be read, or has no points; copy it again")
    columns = {}
    for name in cloud.point:
        values = cloud.point[name].numpy()
        parts = {"positions": "xyz", "colors": _RGB, "normals": ("nx", "ny", "nz")}.get(name)
        if parts is None:
            parts = [name] if values.shape[1] == 1 else [f"{name}_{place}" for place in range(values.shape[1])]
        columns |= {part: values[:, place] for place, part in enumerate(parts)}
    return {name: columns[name] for name in sorted(columns, key=lambda name: name not in "xyz")}, None
