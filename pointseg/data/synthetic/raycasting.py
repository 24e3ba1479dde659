"""Rays against triangle meshes, by open3d."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pointseg.data.synthetic.mesh import TriangleMesh


def load_open3d() -> ModuleType:
    """Import open3d, which only ray casting needs here.

    Raises:
        ImportError: with what to install, where it or a system library of its is missing.
    """
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise ImportError(
            "generating synthetic scenes needs open3d for ray casting: `pip install open3d`; on "
            "Debian and Ubuntu it also needs `apt-get install libgl1 libegl1 libgomp1 libx11-6` "
            f"(the import failed with: {error})"
        ) from error
    return open3d


class Raycaster:
    """Casts rays into one mesh, whose search tree is built once."""

    def __init__(self, mesh: TriangleMesh) -> None:
        o3d = load_open3d()
        self._tensor = o3d.core.Tensor
        self._face_part = mesh.face_part
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(self._tensor(mesh.vertices), self._tensor(mesh.faces))

    def cast(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What float32 rays [R, 6] (origin, unit direction) hit first.

        Returns:
            Distance float32 [R] in metres (inf: nothing hit), part int32 [R], unit normal float32
            [R, 3], on either side.
        """
        hits = self._scene.cast_rays(self._tensor(rays), nthreads=1)
        distance = hits["t_hit"].numpy()
        triangle = np.where(np.isfinite(distance), hits["primitive_ids"].numpy(), 0)
        return distance, self._face_part[triangle], hits["primitive_normals"].numpy()
