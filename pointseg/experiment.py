"""From a configuration to objects: the only module that knows all registries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pointseg import config as configuration
from pointseg import models
from pointseg.config import ConfigError
from pointseg.data import (
    LabelMap,
    SceneDataset,
    SceneTransform,
    build_transforms,
    find_spec,
    num_channels,
    open_dataset,
)
from pointseg.data.catalog import build_settings
from pointseg.data.transforms.geometric import Pivot
from pointseg.distributed import Group, everywhere, gather_objects, is_main, num_ranks, rank
from pointseg.engine.best_metric import check_best_metric
from pointseg.engine.broken_scenes import readable_labels, scene_sizes
from pointseg.engine.budget_sampler import BudgetStream, warn_of_large_scenes
from pointseg.engine.checkpoint import (
    BEST_NAME,
    Checkpoint,
    load_checkpoint,
    pack_label_map,
    unpack_label_map,
)
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.distillation import Distillation
from pointseg.engine.fingerprint import Fingerprint
from pointseg.engine.freezing import Freezing
from pointseg.engine.loaders import (
    EvaluationLoader,
    LoadedBatch,
    ShareSource,
    training_loader,
)
from pointseg.engine.logging import RunLog
from pointseg.engine.losses import SegmentationLoss, class_weights
from pointseg.engine.optimizers import build_optimizer, parameter_groups
from pointseg.engine.precision import autocast
from pointseg.engine.run_directory import collect_versions
from pointseg.engine.sampler import SceneStream
from pointseg.engine.trainer import Trainer
from pointseg.engine.weights import load_weights
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
        section = "optimizer"
        parameter_groups(config.optimizer, model)
        section = "train"
        Freezing(model, config.train.freeze)
        section = "train.checkpoint_activations"
        _checkpoint_activations(config, model)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {section}: {error}") from error


def _build_transforms(config: ExperimentConfig) -> tuple[SceneTransform, ...]:
    return build_transforms([configuration.to_dict(named) for named in config.data.transforms])


def training_pivot(config: ExperimentConfig) -> Pivot:
    """What the rotations and flips of training left in place; where there was none, the middle."""
    pivots = {getattr(transform, "about", None) for transform in _build_transforms(config)}
    return "origin" if "origin" in pivots else "middle"


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


def build_evaluation_loader(config: ExperimentConfig, dataset: SceneDataset) -> EvaluationLoader:
    """Every scene once, one a batch."""
    return EvaluationLoader(dataset, config.data.num_workers, config.data.max_worker_restarts)


def build_training_loader(
    config: ExperimentConfig, dataset: SceneDataset, stream: ShareSource, device: torch.device
) -> Iterator[LoadedBatch]:
    """Endless batches from the position of ``stream`` on, to be copied to ``device``."""
    data = config.data
    return training_loader(
        dataset,
        stream,
        data.num_workers,
        pin_memory=device.type == "cuda",
        max_broken_scenes=data.max_broken_scenes,
        max_worker_restarts=data.max_worker_restarts,
    )


def build_streams(config: ExperimentConfig, dataset: SceneDataset) -> Callable[[int], ShareSource]:
    """From a position to this rank's batches from there on."""
    train = config.train
    if not train.max_points:
        make = partial(SceneStream, len(dataset), train.batch_size, train.seed)
        return partial(make, rank=rank(), num_ranks=num_ranks())
    # Of rank 0, in case that the ranks' disks differ: all have to deal out scenes alike.
    own = everywhere(lambda: scene_sizes(dataset, config.data.max_broken_scenes))
    sizes = gather_objects(own)[0]
    if is_main():
        warn_of_large_scenes(dataset.scene_ids, sizes, train.max_points)
    budget = partial(BudgetStream, sizes, train.max_points, train.batch_size, train.seed)
    return partial(budget, rank=rank(), num_ranks=num_ranks())


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
    names = config.train.checkpoint_activations
    method: Any = getattr(model, "checkpoint_activations", None)
    if method is None and names:
        raise ValueError(
            f"train.checkpoint_activations: {config.model.name} has no parts that can be computed "
            "again; leave it empty"
        )
    if method is not None:
        method(names)


def build_loss(config: ExperimentConfig, train_scenes: SceneDataset) -> SegmentationLoss:
    """The configured loss; weights by frequency are counted over all training labels."""
    labels = readable_labels(train_scenes, config.data.max_broken_scenes)
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
    distillation: Distillation | None = None,
) -> Trainer:
    """The trainer of a configuration; ``model`` and the loss are moved to ``device``, and batch
    norms made to see the voxels of all ranks of ``group`` where that is configured.

    ``distillation``, of ``pointseg.teacher``, where the configuration asks for one; ValueError
    where it is missing.
    """
    if config.distillation is not None and distillation is None:
        raise ValueError("distillation: missing; pointseg.teacher.build_distillation makes it")
    # Before the labels are counted for the loss, which takes its time.
    check_best_metric(config.train.best_metric, train_scenes.label_map.names)
    stream_from = build_streams(config, train_scenes)
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
        train_batches=lambda position: build_training_loader(
            config, train_scenes, stream_from(position), device
        ),
        num_scenes=len(train_scenes),
        max_broken_scenes=config.data.max_broken_scenes,
        val_batches=None if val_scenes is None else build_evaluation_loader(config, val_scenes),
        val_split=config.data.val_split,
        rule=metric_rule(config.data.dataset),
        label_map=train_scenes.label_map,
        origin=Checkpoint(
            model={},
            config=configuration.to_dict(config),
            label_map=pack_label_map(train_scenes.label_map),
            in_channels=train_scenes.num_channels,
            versions=collect_versions(),
            fingerprint=fingerprint(config, train_scenes.label_map).to_dict(),
        ),
        log=log,
        device=device,
        group=group,
        distillation=distillation,
    )


def fingerprint(config: ExperimentConfig, label_map: LabelMap) -> Fingerprint:
    """What the weights of a configuration depend on, trained on data with these classes."""
    return Fingerprint.describe(
        configuration.to_dict(config),
        pack_label_map(label_map),
        num_channels(config.data.features),
        collect_versions()["pointseg"],
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
    Fingerprint.of(checkpoint).check(fingerprint(config, label_map), str(path))
    model = build_model(config, label_map)
    load_weights(model, checkpoint.average or checkpoint.model, str(path))
    return Trained(config, model.eval(), label_map, checkpoint.step)


def checkpoint_config(
    checkpoint: Checkpoint, path: Path, overrides: Iterable[str] = ()
) -> ExperimentConfig:
    """The configuration that a checkpoint holds, with overrides."""
    config = configuration.from_dict(ExperimentConfig, checkpoint.config, str(path), overrides)
    return _complete(config, str(path))
