"""Augmentations of raw clouds before voxelization: small classes, built by name from a config."""

from pointseg.data.transforms.base import (
    TRANSFORMS,
    MixingTransform,
    SceneTransform,
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
from pointseg.data.transforms.instance_paste import InstancePaste
from pointseg.data.transforms.lidar_mixing import LaserMix, PolarMix
from pointseg.data.transforms.mix3d import Mix3D
from pointseg.data.transforms.mixing import join_clouds
from pointseg.data.transforms.sampling import CropToBudget, RandomDropout

__all__ = [
    "TRANSFORMS",
    "ChromaticAutoContrast",
    "ChromaticJitter",
    "ChromaticTranslation",
    "CropToBudget",
    "ElasticDistortion",
    "InstancePaste",
    "LaserMix",
    "Mix3D",
    "MixingTransform",
    "PolarMix",
    "RandomDropout",
    "RandomFlip",
    "RandomJitter",
    "RandomRotation",
    "RandomScale",
    "RandomTranslation",
    "SceneTransform",
    "Transform",
    "build_transform",
    "build_transforms",
    "join_clouds",
    "register",
]
