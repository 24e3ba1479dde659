"""The configuration of an experiment: one section per family, each defined beside its owner."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pointseg.config import ConfigError, Named
from pointseg.engine.distillation import DistillationConfig
from pointseg.engine.losses import LossConfig
from pointseg.engine.optimizers import OptimizerConfig
from pointseg.engine.schedules import ScheduleConfig
from pointseg.engine.train_config import TrainConfig


@dataclass(frozen=True)
class DataConfig:
    """Which scenes are read, and what a model sees of them."""

    dataset: str
    """Name in pointseg.data.DATASETS."""
    root: str | None = None
    """Folder of the raw or the prepared scenes; null: $POINTSEG_DATA/<dataset>."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the dataset's reader, such as num_sweeps of semantickitti."""
    train_split: str = "train"
    """Split that is trained on."""
    val_split: str = "val"
    """Split that is evaluated."""
    voxel_size_m: float = 0.02
    """Edge of a voxel in metres."""
    features: tuple[str, ...] = ("color",)
    """Input channels of a voxel, in this order."""
    transforms: tuple[Named, ...] = ()
    """Augmentation of the training scenes, in this order."""
    num_workers: int = 0
    """Processes that read and augment scenes; 0: the training process itself. Results do not depend
    on it.
    """
    max_worker_restarts: int = 3
    """Times that a loader's processes are started again after one was killed, such as by a system
    short of memory; results do not depend on it.
    """
    max_broken_scenes: int = 0
    """Training scenes that may be left out because their files cannot be read; 0: the first one is
    an error. Evaluation leaves none out.
    """

    def __post_init__(self) -> None:
        if not self.voxel_size_m > 0:
            raise ValueError(f"voxel_size_m must be positive, got {self.voxel_size_m}")
        if not self.features:
            raise ValueError("features must name at least one input channel, such as color")
        for name in ("num_workers", "max_worker_restarts", "max_broken_scenes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that a training run depends on, apart from the files it reads."""

    name: str
    """What run directories are called."""
    data: DataConfig
    model: Named
    """Name in pointseg.models.MODELS, and its options."""
    train: TrainConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distillation: DistillationConfig | None = None
    """A trained model that is imitated besides the labels; null: none."""
    output_dir: str = "runs"
    """Where run directories are made."""

    def __post_init__(self) -> None:
        if self.loss.cross_entropy == self.loss.lovasz == 0 and self.distillation is None:
            raise ValueError(
                "loss.cross_entropy and loss.lovasz are both 0, which leaves nothing to learn "
                "from: one of them must be above 0, or distillation name a teacher"
            )


def find_config(path_or_name: str | Path) -> Path:
    """The file that a path or a name means, with or without ``.yaml``.

    Looked for as given, then in ``configs/`` of the working directory, of the checkout and of the
    installed package.
    """
    given = Path(path_or_name).expanduser()
    names = (
        [given] if given.suffix in (".yaml", ".yml") else [given.with_name(f"{given.name}.yaml")]
    )
    folders = [Path(), Path("configs"), *_config_folders()]
    if given.is_absolute():
        folders = [Path()]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    known = sorted({file.stem for folder in folders[1:] for file in folder.glob("*.yaml")})
    raise ConfigError(f"{path_or_name}: no such configuration; known by name: {', '.join(known)}")


def _config_folders() -> list[Path]:
    package = importlib.util.find_spec("pointseg")
    roots = [Path(root) for root in (package.submodule_search_locations or [])] if package else []
    return [
        folder
        for root in roots
        for folder in (root.parent / "configs", root / "configs")
        if folder.is_dir()
    ]
