"""Segmentation networks and their registry.

A model is built from its name, its input channels, the number of classes and options that are
plain data. It maps a `SparseTensor` to voxel logits ``[N, num_classes]`` and declares its
geometry, ``model.geometry() -> GeometryPlan``, and how far it looks, ``model.reach() -> Reach``.
"""

from pointseg.models.codebook_options import CodebookOptions, inline_files
from pointseg.models.codedvtr import CodedVTR, CodedVTRConfig
from pointseg.models.minkunet import MinkUNet, MinkUNetConfig
from pointseg.models.registry import MODELS, PRESETS, build_model
from pointseg.models.spvcnn import SPVCNN, SPVCNNConfig
from pointseg.models.unet import UNet, UNetConfig

__all__ = [
    "MODELS",
    "PRESETS",
    "SPVCNN",
    "CodebookOptions",
    "CodedVTR",
    "CodedVTRConfig",
    "MinkUNet",
    "MinkUNetConfig",
    "SPVCNNConfig",
    "UNet",
    "UNetConfig",
    "build_model",
    "inline_files",
]
