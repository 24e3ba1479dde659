"""Loaders: batches of voxelized scenes, read and augmented in worker processes if asked to."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset, Subset

from pointseg import distributed
from pointseg.data import BrokenScene, SegBatch, VoxelScene, collate
from pointseg.engine.broken_scenes import BrokenScenes
from pointseg.engine.interrupt import WorkersStay
from pointseg.engine.sampler import Share
from pointseg.engine.worker_watch import restarted


class SceneSource(Protocol):
    """What training needs of a dataset: scenes, and an epoch that augmentation depends on."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...

    def read_or_skip(self, index: int) -> tuple[VoxelScene | None, tuple[BrokenScene, ...]]: ...

    def set_epoch(self, epoch: int) -> None: ...


class ShareSource(Protocol):
    """An order of training batches: :class:`SceneStream`, :class:`BudgetStream`."""

    @property
    def position(self) -> int: ...

    def shares(self, position: int) -> Iterator[Share]: ...


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """What one rank computes in one forward pass, and what was left out of it."""

    batch: SegBatch
    share: Share
    broken: tuple[BrokenScene, ...] = ()

    def pin_memory(self) -> LoadedBatch:
        """The batch in memory that a GPU reads by itself; loaders ask for it by this name."""
        return dataclasses.replace(self, batch=self.batch.pin_memory())


class ShareView(Dataset[Any]):
    """A dataset indexed by :class:`Share`.

    The epoch travels with each scene, so it reaches worker processes that live longer than one.
    Up to ``max_broken`` scenes of a share that cannot be read are left out. Where none is left, the
    scene after the last one in the dataset takes its place, or the one after that, so that
    every rank has a batch; it is augmented as whenever it comes in that epoch. What comes is a
    function of the share and of the files, not of the worker that reads it.
    """

    def __init__(self, dataset: SceneSource, max_broken: int) -> None:
        self.dataset = dataset
        self.max_broken = max_broken

    def __getitem__(self, share: Share) -> LoadedBatch:
        if not self.max_broken:
            return LoadedBatch(collate([self._read(*key) for key in share.scenes]), share)
        broken = BrokenScenes(self.max_broken)
        read = [self._read_or_skip(*key, broken) for key in share.scenes]
        scenes = [scene for scene in read if scene is not None] or [self._instead_of(share, broken)]
        return LoadedBatch(collate(scenes), share, broken.all())

    def _instead_of(self, share: Share, broken: BrokenScenes) -> VoxelScene:
        epoch, last = share.scenes[-1]
        for index in (*range(last + 1, len(self.dataset)), *range(last)):
            scene = self._read_or_skip(epoch, index, broken)
            if scene is not None:
                return scene
        raise ValueError(f"none of the {len(self.dataset)} training scenes can be read")

    def _read(self, epoch: int, index: int) -> VoxelScene:
        self.dataset.set_epoch(epoch)
        scene: VoxelScene = self.dataset[index]
        return scene

    def _read_or_skip(self, epoch: int, index: int, broken: BrokenScenes) -> VoxelScene | None:
        self.dataset.set_epoch(epoch)
        scene, failed = self.dataset.read_or_skip(index)
        broken.add(failed)
        return scene


def training_loader(
    dataset: SceneSource,
    stream: ShareSource,
    num_workers: int,
    pin_memory: bool = False,
    max_broken_scenes: int = 0,
    max_worker_restarts: int = 0,
) -> Iterator[LoadedBatch]:
    """Endless batches from ``stream.position`` on.

    pin_memory           in memory that a GPU copies from by itself, while the host goes on
    max_broken_scenes    scenes that cannot be read are left out, see :class:`ShareView`; 0: the
                         first one is an error
    max_worker_restarts  times that killed workers are started again, see
                         ``worker_watch.restarted``
    """

    def start(position: int) -> DataLoader[LoadedBatch]:
        return DataLoader(
            ShareView(dataset, max_broken_scenes),
            sampler=stream.shares(position),
            batch_size=None,  # a share is a batch already
            num_workers=num_workers,
            pin_memory=pin_memory,
            worker_init_fn=partial(_start_worker, WorkersStay()),
            generator=_own_generator(),
        )

    return restarted(start, stream.position, lambda _, b: b.share.end, max_worker_restarts)


@dataclass(frozen=True)
class EvaluationLoader:
    """Every scene once, in order, one a batch, so that memory is that of the largest scene.

    Of R ranks, each has every R-th scene. A scene that cannot be read is an error: a score without
    it would not be that of the split.
    """

    dataset: Dataset[Any]
    num_workers: int
    max_worker_restarts: int = 0

    def __len__(self) -> int:
        return len(self._scenes())

    def __iter__(self) -> Iterator[SegBatch]:
        return restarted(self._start, 0, lambda position, _: position + 1, self.max_worker_restarts)

    def _scenes(self) -> range:
        num_scenes = len(self.dataset)  # type: ignore[arg-type]  # torch declares none
        return range(distributed.rank(), num_scenes, distributed.num_ranks())

    def _start(self, position: int) -> DataLoader[SegBatch]:
        return DataLoader(
            Subset(self.dataset, self._scenes()[position:]),
            batch_size=1,
            num_workers=self.num_workers,
            collate_fn=collate,
            worker_init_fn=partial(_settle, WorkersStay()),
            generator=_own_generator(),
        )


def _own_generator() -> torch.Generator:
    """For a loader's own draws: starting one must not move the global random state."""
    return torch.Generator().manual_seed(0)


def _settle(stay: WorkersStay, worker_id: int) -> None:
    stay(worker_id)
    # One thread a worker, as torch has it there: numpy's would fight each other for the processors.
    threadpool_limits(1)


def _start_worker(stay: WorkersStay, worker_id: int) -> None:
    _settle(stay, worker_id)
    # At the turn of an epoch workers are in different epochs, and a dataset may keep its epoch in
    # shared memory: each worker sets the epoch of a copy of its own.
    info = torch.utils.data.get_worker_info()
    assert info is not None
    view = info.dataset
    assert isinstance(view, ShareView)
    view.dataset = copy.deepcopy(view.dataset)
