"""From a configuration to objects: the only module that knows all registries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from pointseg import config as configuration
from pointseg import models
from pointseg.config import ConfigError
from pointseg.data import (
    LabelMap,
    SceneDataset,
    SceneTransform,
    SegBatch,
    build_transforms,
    find_spec,
    num_channels,
    open_dataset,
)
from pointseg.data.catalog import build_settings
from pointseg.distributed import Group, num_ranks
from pointseg.engine.checkpoint import (
    BEST_NAME,
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    load_weights,
    pack_label_map,
    unpack_label_map,
)
from pointseg.engine.loaders import evaluation_loader, training_loader
from pointseg.engine.logging import RunLog
from pointseg.engine.losses import SegmentationLoss, class_weights
from pointseg.engine.optimizers import build_optimizer
from pointseg.engine.precision import autocast
from pointseg.engine.run_directory import collect_versions
from pointseg.engine.trainer import Trainer
from pointseg.evaluation import BENCHMARKS, MetricRule
from pointseg.experiment_config import ExperimentConfig, find_config
from pointseg.nn import synchronized


def load_config(path_or_name: str | Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read a configuration, apply ``key.path=value`` overrides, check all that needs no data."""
    path = find_config(path_or_name)
    config = configuration.load(ExperimentConfig, path, overrides)
    return _complete(config, str(path))


def _complete(config: ExperimentConfig, source: str) -> ExperimentConfig:
    """The configuration with other files inlined, checked."""
    try:
        options = models.inline_files(config.model.options, config.data.voxel_size_m)
    except ValueError as error:
        raise ConfigError(f"{source}: model: {error}") from error
    config = replace(config, model=replace(config.model, options=options))
    check_config(config, source)
    return config


def check_config(config: ExperimentConfig, source: str) -> None:
    """Raise ConfigError, naming ``source`` and section, for names and options no registry knows."""
    try:
        section = "data.dataset"
        spec = find_spec(config.data.dataset)
        section = "data.options"
        build_settings(spec.settings, config.data.options)
        section = "data.features"
        channels = num_channels(config.data.features)
        section = "data.transforms"
        _build_transforms(config)
        section = "model"
        with torch.device("meta"):  # shapes only
            model = models.build_model(config.model.name, channels, 1, **config.model.options)
        section = "train.checkpoint_activations"
        _checkpoint_activations(config, model)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {section}: {error}") from error


def _build_transforms(config: ExperimentConfig) -> tuple[SceneTransform, ...]:
    return build_transforms([configuration.to_dict(named) for named in config.data.transforms])


def build_dataset(config: ExperimentConfig, split: str, training: bool) -> SceneDataset:
    """The scenes of a split, augmented if for training; prepared first where that is missing or out
    of date.
    """
    data = config.data
    return SceneDataset(
        open_dataset(data.dataset, data.root, split, options=data.options),
        data.voxel_size_m,
        features=data.features,
        transforms=_build_transforms(config) if training else (),
        seed=config.train.seed,
    )


def build_loader(
    config: ExperimentConfig,
    dataset: SceneDataset,
    training: bool,
    position: int = 0,
    device: torch.device | None = None,
) -> DataLoader[SegBatch]:
    """Batches of a dataset: endless from a position in the training order on, to be copied to
    ``device``; or every scene once, one a batch.
    """
    workers = config.data.num_workers
    if not training:
        return evaluation_loader(dataset, workers)
    train = config.train
    on_gpu = device is not None and device.type == "cuda"
    return training_loader(dataset, train.batch_size, train.seed, position, workers, on_gpu)


def metric_rule(dataset: str) -> MetricRule:
    """The rule of a registered dataset's benchmark."""
    return BENCHMARKS[find_spec(dataset).benchmark].rule


def build_model(config: ExperimentConfig, label_map: LabelMap) -> nn.Module:
    """The configured model, freshly initialised from torch's global generator."""
    return models.build_model(
        config.model.name,
        num_channels(config.data.features),
        label_map.num_classes,
        **config.model.options,
    )


def _checkpoint_activations(config: ExperimentConfig, model: nn.Module) -> None:
    method: Any = model.checkpoint_activations
    method(config.train.checkpoint_activations)


def build_loss(config: ExperimentConfig, train_scenes: SceneDataset) -> SegmentationLoss:
    """The configured loss; weights by frequency are counted over all training labels."""
    labels = (train_scenes.point_cloud(i).labels for i in range(len(train_scenes)))
    num_classes = train_scenes.label_map.num_classes
    return SegmentationLoss(config.loss, class_weights(config.loss, num_classes, labels))


def build_trainer(
    config: ExperimentConfig,
    model: nn.Module,
    train_scenes: SceneDataset,
    val_scenes: SceneDataset | None,
    log: RunLog,
    device: torch.device,
    group: Group | None = None,
) -> Trainer:
    """The trainer of a configuration; ``model`` and the loss are moved to ``device``, and batch
    norms made to see the voxels of all ranks of ``group`` where that is configured.
    """
    model = model.to(device)
    _checkpoint_activations(config, model)
    if num_ranks() > 1 and config.train.sync_batch_norm:
        model = synchronized(model)
    return Trainer(
        config=config.train,
        schedule=config.schedule,
        model=model,
        loss=build_loss(config, train_scenes).to(device),
        optimizer=build_optimizer(config.optimizer, model),
        train_batches=lambda position: build_loader(config, train_scenes, True, position, device),
        num_scenes=len(train_scenes),
        val_batches=None if val_scenes is None else build_loader(config, val_scenes, False),
        val_split=config.data.val_split,
        rule=metric_rule(config.data.dataset),
        label_map=train_scenes.label_map,
        origin=Checkpoint(
            model={},
            config=configuration.to_dict(config),
            label_map=pack_label_map(train_scenes.label_map),
            in_channels=train_scenes.num_channels,
            versions=collect_versions(),
        ),
        log=log,
        device=device,
        group=group,
    )


@dataclass(frozen=True)
class Trained:
    """A trained model in evaluation mode, with what it was trained under."""

    config: ExperimentConfig
    model: nn.Module
    label_map: LabelMap
    step: int

    def autocast(self) -> torch.autocast:
        """The precision it was trained in (``train.precision``), where the model is."""
        return autocast(self.config.train.precision, next(self.model.parameters()).device)


def load_trained(path: str | Path, overrides: Iterable[str] = ()) -> Trained:
    """The model of a checkpoint, or of a run directory's best one; no data is needed.

    ``overrides`` change the stored configuration, such as ``data.root``. Of a run that keeps a
    moving average of its model, that average.
    """
    path = find_checkpoint(Path(path).expanduser(), prefer=BEST_NAME)
    checkpoint = load_checkpoint(path)
    config = checkpoint_config(checkpoint, path, overrides)
    label_map = unpack_label_map(checkpoint.label_map)
    if num_channels(config.data.features) != checkpoint.in_channels:
        raise ConfigError(
            f"{path}: data.features {list(config.data.features)} are "
            f"{num_channels(config.data.features)} channels, the model was trained on "
            f"{checkpoint.in_channels}"
        )
    model = build_model(config, label_map)
    load_weights(model, checkpoint.average or checkpoint.model, str(path))
    return Trained(config, model.eval(), label_map, checkpoint.step)


def checkpoint_config(
    checkpoint: Checkpoint, path: Path, overrides: Iterable[str] = ()
) -> ExperimentConfig:
    """The configuration that a checkpoint holds, with overrides."""
    config = configuration.from_dict(ExperimentConfig, checkpoint.config, str(path), overrides)
    return _complete(config, str(path))
