"""Semantic segmentation of 3D point clouds with sparse convolutional networks."""

from __future__ import annotations

import warnings

from pointseg import _native

__version__ = "0.1.0"

if _native.problem() is not None:
    warnings.warn(str(_native.problem()), RuntimeWarning, stacklevel=2)
