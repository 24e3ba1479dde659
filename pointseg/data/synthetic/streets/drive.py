"""How the sensor is driven along a street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointseg.data.synthetic.streets.course import Course
from pointseg.data.synthetic.streets.layout import Layout

PERIOD_S = 0.1
SENSOR_HEIGHT_M = 1.73
SPACING_M = 1.0
"""Mean distance between scans."""


def driven_m(num_scans: int) -> np.ndarray:
    """Arc length of each scan, float64 [num_scans]: a drive of changing speed, from 0 on."""
    steps = SPACING_M * (1.0 + 0.3 * np.sin(np.arange(max(num_scans - 1, 0)) / 9.0))
    return np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True)
class Drive:
    """A drive of K scans: arc lengths float64 [K], sensor poses float64 [K, 4, 4] (sensor: x ahead,
    y left, z up) in the street's frame, times float64 [K] in seconds."""

    s_m: np.ndarray
    poses: np.ndarray
    times_s: np.ndarray


def draw_drive(rng: np.random.Generator, course: Course, layout: Layout, num_scans: int) -> Drive:
    """Drive on the right-hand lane: swaying a little, following slopes, rocking on the springs."""
    s = driven_m(num_scans)
    phase = rng.uniform(0, 2 * np.pi, 4)
    t = -layout.road_m / 2 + 0.15 * np.sin(s / 17.0 + phase[0])
    places = course.at(s, t)
    height = layout.ground(s, t)[1]
    poses = np.tile(np.eye(4), (num_scans, 1, 1))
    for i in range(num_scans):
        yaw = places[i, 3] + 0.15 / 17.0 * np.cos(s[i] / 17.0 + phase[0])
        pitch = np.arctan(course.slope(float(s[i]))) + 0.004 * np.sin(s[i] / 3.1 + phase[1])
        roll = 0.006 * np.sin(s[i] / 4.3 + phase[2]) + 0.01
        poses[i, :3, :3] = _rotation(yaw, pitch, roll)
        poses[i, :3, 3] = places[i, :3]
        poses[i, 2, 3] += height[i] + SENSOR_HEIGHT_M + 0.01 * np.sin(s[i] / 2.3 + phase[3])
    return Drive(s, poses, np.arange(num_scans) * PERIOD_S)


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turn by ``roll`` about x, nose up by ``pitch``, and by ``yaw`` about z: [3, 3]."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, -sp], [0, 1, 0], [sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return np.asarray(about_z @ about_y @ about_x)
