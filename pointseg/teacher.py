"""The trained model that a run distils: found, checked against the student, and made ready."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from pointseg.config import ConfigError
from pointseg.data import LabelMap
from pointseg.distributed import everywhere, gather_objects
from pointseg.engine.checkpoint import BEST_NAME
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.distillation import Distillation, DistillationConfig
from pointseg.engine.random_state import preserved_random_state
from pointseg.engine.weights import hash_weights
from pointseg.experiment import Trained, load_trained
from pointseg.experiment_config import ExperimentConfig
from pointseg.nn import folded


def find_teacher(config: ExperimentConfig) -> tuple[ExperimentConfig, Trained | None]:
    """The teacher that a configuration names, and the configuration with its file and the hash of
    its weights; None where it names none. The global random state is left as it is.

    Raises ConfigError where the configuration has the hash of other weights, which that of a
    resumed run does. All ranks call it.
    """
    if config.distillation is None:
        return config, None
    named = config.distillation
    settled, teacher = everywhere(lambda: _settle(named))
    hashes = gather_objects(settled.teacher_hash)
    if len(set(hashes)) > 1:
        raise ConfigError(
            f"distillation.teacher: {settled.teacher} has other weights on each machine (SHA-256 "
            f"by rank: {', '.join(str(found)[:12] for found in hashes)}): copy one to all"
        )
    return replace(config, distillation=settled), teacher


def _settle(config: DistillationConfig) -> tuple[DistillationConfig, Trained]:
    path = find_checkpoint(Path(config.teacher).expanduser(), prefer=BEST_NAME).resolve()
    with preserved_random_state():
        teacher = load_trained(path)
    found = hash_weights(teacher.model.state_dict())
    if config.teacher_hash not in (None, found):
        raise ConfigError(
            f"distillation.teacher: {path} has other weights (SHA-256 {found[:12]}...) than the "
            f"run began with ({str(config.teacher_hash)[:12]}...): put that file back, or go on "
            "with another teacher by --set distillation.teacher_hash=null"
        )
    return replace(config, teacher=str(path), teacher_hash=found), teacher


def build_distillation(
    config: ExperimentConfig, teacher: Trained | None, label_map: LabelMap, device: torch.device
) -> Distillation | None:
    """The configured distillation from ``teacher``, folded and on ``device``; None without one.

    ``label_map``: of the training scenes. Raises ConfigError with all differences where the teacher
    was trained on other voxels, features or classes than the student.
    """
    if config.distillation is None or teacher is None:
        return None
    differences = "".join(_differences(config, teacher, label_map))
    if differences:
        raise ConfigError(
            f"distillation.teacher: {config.distillation.teacher} must see what the student sees "
            f"and name the same classes; they differ in{differences}"
        )
    return Distillation(config.distillation, folded(teacher.model).to(device))


def _differences(config: ExperimentConfig, teacher: Trained, label_map: LabelMap) -> list[str]:
    pairs = {
        "data.features": (teacher.config.data.features, config.data.features),
        "data.voxel_size_m": (teacher.config.data.voxel_size_m, config.data.voxel_size_m),
        "classes": (teacher.label_map.names, label_map.names),
    }
    return [
        f"\n  {key}: teacher {_plain(theirs)}; student {_plain(ours)}"
        for key, (theirs, ours) in pairs.items()
        if theirs != ours
    ]


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
