"""A picture that stays in the upper left corner of an Open3D window."""

import numpy as np

_MARGIN = 12  # pixels from the corner


class Overlay:
    """A rectangle with a picture on it, kept before the camera. It is drawn as a part of the scene.

    visualizer: an Open3D visualizer. depth: metres from the camera, nearer than everything else.
    """

    def __init__(self, visualizer, depth):
        self.visualizer, self.depth = visualizer, depth
        self._mesh, self._size, self._seen_from = None, (0, 0), None

    def show(self, picture):
        """Take another picture. (H, W, 3) uint8"""
        import open3d

        if self._mesh is not None:
            self.visualizer.remove_geometry(self._mesh, reset_bounding_box=False)
        vectors, triangles = open3d.utility.Vector3dVector, open3d.utility.Vector3iVector
        self._mesh = open3d.geometry.TriangleMesh(vectors(np.zeros((4, 3))), triangles([[0, 1, 2], [0, 2, 3]]))
        self._size = width, height = picture.shape[1::-1]
        # A pixel from the edge, where the graphics mix in what lies outside.
        left, top, right, bottom = 1 / width, 1 / height, 1 - 1 / width, 1 - 1 / height
        corners = np.array([(left, bottom), (right, bottom), (right, top), (left, top)])
        self._mesh.triangle_uvs = open3d.utility.Vector2dVector(corners[[0, 1, 2, 0, 2, 3]])
        self._mesh.triangle_material_ids = open3d.utility.IntVector([0, 0])
        self._mesh.textures = [open3d.geometry.Image(np.ascontiguousarray(picture))]
        self._seen_from = None
        self._place()
        self.visualizer.add_geometry(self._mesh, reset_bounding_box=False)

    def follow(self):
        """Stay in the corner after the camera or the window has changed."""
        if self._mesh is not None and self._place():
            self.visualizer.update_geometry(self._mesh)

    def _place(self):
        """Put the corners where the camera sees them in the corner of the window. -> whether they had to move"""
        import open3d

        seen = self.visualizer.get_view_control().convert_to_pinhole_camera_parameters()
        camera = np.append(np.ravel(seen.extrinsic), np.ravel(seen.intrinsic.intrinsic_matrix))
        if np.array_equal(camera, self._seen_from):
            return False
        self._seen_from = camera
        width, height = self._size
        pixels = np.array([(0, height), (width, height), (width, 0), (0, 0)]) + _MARGIN
        focal, middle = seen.intrinsic.intrinsic_matrix[0, 0], seen.intrinsic.intrinsic_matrix[:2, 2]
        in_camera = np.c_[(pixels - middle) / focal * self.depth, np.full(4, self.depth)]
        turn, move = seen.extrinsic[:3, :3], seen.extrinsic[:3, 3]
        self._mesh.vertices = open3d.utility.Vector3dVector((in_camera - move) @ turn)
        return True
