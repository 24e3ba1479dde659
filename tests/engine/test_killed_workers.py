"""Workers that are killed: started again, and what comes is what would have come."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli.train import main
from pointseg.data import SCANNET20, PointCloud, SceneDataset, build_transforms
from pointseg.engine.loaders import EvaluationLoader, LoadedBatch, training_loader
from pointseg.engine.logging import RunLog
from pointseg.engine.sampler import SceneStream
from pointseg.engine.worker_watch import WorkersDied
from tests.engine.runs import assert_same_run, assert_same_state

NUM_SCENES = 5


class Clouds:
    """Small clouds; a scene of index ``deadly`` kills the process that reads it."""

    scene_ids = tuple(f"scene{i}" for i in range(NUM_SCENES))
    label_map = SCANNET20

    def __init__(self, deadly: int | None = None) -> None:
        self.deadly = deadly

    def __len__(self) -> int:
        return NUM_SCENES

    def __getitem__(self, index: int) -> PointCloud:
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        xyz = np.random.default_rng(index).random((200, 3), dtype=np.float32)
        return PointCloud(self.scene_ids[index], xyz)


def dataset_of(clouds: Clouds) -> SceneDataset:
    return SceneDataset(clouds, 0.1, ["xyz"], build_transforms([{"name": "random_rotation"}]))


def loader_of(
    workers: int, position: int = 0, restarts: int = 1, clouds: Clouds | None = None
) -> Iterator[LoadedBatch]:
    stream = SceneStream(NUM_SCENES, 2, seed=0, position=position)
    dataset = dataset_of(clouds or Clouds())
    return training_loader(dataset, stream, workers, max_worker_restarts=restarts)


def children() -> list[BaseProcess]:
    return multiprocessing.active_children()


def kill(process: BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_batches_go_on_where_they_were(caplog):
    caplog.set_level(logging.WARNING)
    expected = list(islice(loader_of(0), 8))
    batches = loader_of(2)
    got = list(islice(batches, 3))
    first = children()
    kill(first[1])
    got += islice(batches, 5)
    assert not set(children()) & set(first)
    assert len(children()) == 2
    assert f"worker {first[1].pid} was ended by SIGKILL" in caplog.text
    assert "(1 of 1 times)" in caplog.text
    for a, b in zip(expected, got, strict=True):
        assert a.share == b.share and a.batch.scene_ids == b.batch.scene_ids
        assert_same_state(a.batch.voxels.feats, b.batch.voxels.feats)
    kill(children()[0])
    with pytest.raises(WorkersDied, match="SIGKILL, after 1 restarts.*data.num_workers"):
        next(batches)
    assert children() == []


def test_a_worker_that_dies_while_a_batch_is_waited_for():
    """Every time: the scene itself is what kills it."""
    batches = loader_of(1, restarts=0, clouds=Clouds(deadly=3))
    with pytest.raises(WorkersDied, match="SIGKILL, after 0 restarts"):
        list(islice(batches, NUM_SCENES))
    assert children() == []


def test_an_error_in_a_worker_starts_nothing_again(caplog):
    clouds = Clouds()
    clouds.__class__ = type("Unreadable", (Clouds,), {"__getitem__": _unreadable})
    with pytest.raises(ValueError, match="file is cut off"):
        next(loader_of(1, clouds=clouds))
    assert caplog.messages == []
    assert children() == []


def _unreadable(self: Clouds, index: int) -> PointCloud:
    raise ValueError("file is cut off")


def test_an_evaluation_goes_on_too(caplog):
    loader = EvaluationLoader(dataset_of(Clouds()), 1, max_worker_restarts=1)
    batches = iter(loader)
    seen = [next(batches), next(batches)]
    kill(children()[0])
    seen += batches
    assert [batch.scene_ids for batch in seen] == [(scene,) for scene in Clouds.scene_ids]
    assert len(loader) == NUM_SCENES and children() == []
    assert "was ended by SIGKILL" in caplog.text


def test_a_run_is_the_same_bits(tiny_config: Path, tmp_path: Path, monkeypatch, caplog):
    """A worker is killed in the middle of a run of the real command."""
    settings = ["--set", "data.num_workers=2", "--set", "train.steps=4", "--device", "cpu"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["--config", str(tiny_config), *settings, "--output", str(whole)]) == 0
    advance = RunLog.advance

    def advance_and_kill(self: RunLog, done: int) -> None:
        advance(self, done)
        if done == 2:
            kill(children()[0])

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "advance", advance_and_kill)
        assert main(["--config", str(tiny_config), *settings, "--output", str(parts)]) == 0
    assert "starting its workers again (1 of 3 times)" in caplog.text
    assert_same_run(whole, parts)
