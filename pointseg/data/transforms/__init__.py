"""Augmentations of raw clouds before voxelization: small classes, built by name from a config."""

from pointseg.data.transforms.base import (
    TRANSFORMS,
    Transform,
    build_transform,
    build_transforms,
    register,
)
from pointseg.data.transforms.chromatic import (
    ChromaticAutoContrast,
    ChromaticJitter,
    ChromaticTranslation,
)
from pointseg.data.transforms.elastic import ElasticDistortion
from pointseg.data.transforms.geometric import (
    RandomFlip,
    RandomJitter,
    RandomRotation,
    RandomScale,
    RandomTranslation,
)
from pointseg.data.transforms.sampling import CropToBudget, RandomDropout

__all__ = [
    "TRANSFORMS",
    "ChromaticAutoContrast",
    "ChromaticJitter",
    "ChromaticTranslation",
    "CropToBudget",
    "ElasticDistortion",
    "RandomDropout",
    "RandomFlip",
    "RandomJitter",
    "RandomRotation",
    "RandomScale",
    "RandomTranslation",
    "Transform",
    "build_transform",
    "build_transforms",
    "register",
]
