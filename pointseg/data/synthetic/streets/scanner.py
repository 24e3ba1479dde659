"""Scans of a street: rays against what stands and what moves, echoes with the sensor's faults."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pointseg.data.synthetic.mesh import Prop, TriangleMesh, build_mesh
from pointseg.data.synthetic.raycasting import Raycaster
from pointseg.data.synthetic.streets import raw_ids, sensor
from pointseg.data.synthetic.streets.sensor import LidarSettings
from pointseg.data.synthetic.streets.street import Street

_GHOSTS = 0.0008  # share of pulses that report something in mid-air


@dataclass(frozen=True, eq=False)
class Sweep:
    """One turn of the sensor.

    ``points`` float32 [P, 4]: x (ahead), y (left), z (up) in metres in the sensor's frame, and
    intensity; ``labels`` uint32 [P]: raw id in the lower, instance id in the upper 16 bits.
    """

    points: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class _Hits:
    """What each ray met, [R] each; distance inf and the rest arbitrary where there is nothing."""

    distance: np.ndarray
    cosine: np.ndarray
    reflectance: np.ndarray
    contrast: np.ndarray
    dropout: np.ndarray
    labels: np.ndarray

    def nearer(self, other: _Hits) -> _Hits:
        """The nearer of two hits of every ray."""
        first = self.distance <= other.distance
        return _Hits(
            **{name: np.where(first, one, vars(other)[name]) for name, one in vars(self).items()}
        )

    def select(self, rows: np.ndarray) -> _Hits:
        return _Hits(**{name: array[rows] for name, array in vars(self).items()})


def _meet(caster: Raycaster, mesh: TriangleMesh, rays: np.ndarray) -> _Hits:
    distance, part, normal = caster.cast(rays)
    raw = mesh.labels.astype(np.uint32) | mesh.instances.astype(np.uint32) << np.uint32(16)
    return _Hits(
        distance=distance,
        cosine=np.abs(np.einsum("ri,ri->r", normal, rays[:, 3:])),
        reflectance=mesh.rgb[part, 0],
        contrast=mesh.contrast[part],
        dropout=mesh.dropout[part],
        labels=raw[part],
    )


class StreetScanner:
    """Scans one street; the search tree of what stands still is built once.

    Scan i depends on (seed, number, i) and the settings alone.
    """

    def __init__(self, street: Street, seed: int, number: int, settings: LidarSettings) -> None:
        self.street = street
        self._key = (seed, number)
        self._settings = settings
        self._static = Raycaster(street.mesh)
        self._gains = sensor.beam_gains(np.random.default_rng((seed, number, 2)))

    def scan(self, index: int) -> Sweep:
        """The sweep taken at pose ``index`` of the drive."""
        rng = np.random.default_rng((*self._key, 3, index))
        directions = sensor.ray_directions(self._settings.azimuth_steps)
        pose = self.street.plan.drive.poses[index].astype(np.float32)
        rays = np.empty((len(directions), 6), np.float32)
        rays[:, :3] = pose[:3, 3]
        rays[:, 3:] = directions @ pose[:3, :3].T
        hits = _meet(self._static, self.street.mesh, rays)
        moving = self._movers_at(index)
        if moving is not None:
            hits = hits.nearer(_meet(Raycaster(moving), moving, rays))
        return self._echoes(rng, hits, directions)

    def _movers_at(self, index: int) -> TriangleMesh | None:
        """The mesh of everybody who moves within reach, None where nobody does."""
        plan, scene = self.street.plan, Prop()
        reach, here = self._settings.max_range_m + 10.0, float(plan.drive.s_m[index])
        numbers = []
        for number, mover in enumerate(self.street.movers, start=self.street.num_things + 1):
            s, t = mover.place(float(plan.drive.times_s[index]))
            if abs(s - here) > reach or not plan.start_m < s < plan.end_m:
                continue
            x, y, z, heading = plan.course.at(np.array(s), np.array(t))
            turn = float(np.arctan2(mover.velocity[1], mover.velocity[0]))
            at = (float(x), float(y), float(z) + plan.layout.height(s, t))
            scene.add(mover.prop, at, float(heading) + turn)
            numbers.append(number)
        if not numbers:
            return None
        mesh = build_mesh(scene, 0.0, (0.0, 0.0, 0.0))
        return replace(mesh, instances=np.array(numbers, np.int32)[mesh.instances])

    def _echoes(self, rng: np.random.Generator, hits: _Hits, directions: np.ndarray) -> Sweep:
        mottle = rng.standard_normal(len(directions), dtype=np.float32) * hits.contrast
        reflectance = np.clip(hits.reflectance * (1.0 + mottle), 0.0, 1.0)
        kept = np.flatnonzero(
            sensor.returned(
                rng, hits.distance, hits.cosine, reflectance, hits.dropout,
                self._settings.max_range_m,
            )
        )  # fmt: skip
        hits, directions, reflectance = hits.select(kept), directions[kept], reflectance[kept]
        distance = hits.distance + sensor.range_noise(rng, hits.distance)
        labels = hits.labels.copy()
        ghosts = np.flatnonzero(rng.random(len(kept)) < _GHOSTS)
        distance[ghosts] *= rng.uniform(0.3, 0.95, len(ghosts)).astype(np.float32)
        labels[ghosts] = rng.choice(np.array([raw_ids.UNLABELED, raw_ids.OUTLIER]), len(ghosts))
        gain = self._gains[kept // self._settings.azimuth_steps]
        points = np.empty((len(kept), 4), np.float32)
        points[:, :3] = directions * distance[:, None]
        points[:, 3] = sensor.intensities(rng, distance, hits.cosine, reflectance, gain)
        return Sweep(points, labels)
