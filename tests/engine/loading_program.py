"""A program that loads batches in workers, tells their process ids, and waits to be killed."""

from __future__ import annotations

import multiprocessing
import sys
import time

import numpy as np

from pointseg.data import SCANNET20, PointCloud, SceneDataset
from pointseg.engine.loaders import training_loader
from pointseg.engine.sampler import SceneStream


def main(ending: str) -> None:
    xyz = np.random.default_rng(0).random((200_000, 3), dtype=np.float32)
    clouds = [PointCloud(f"scene{i}", xyz) for i in range(4)]
    dataset = SceneDataset(clouds, 0.02, ["xyz"], label_map=SCANNET20)
    batches = training_loader(dataset, SceneStream(4, 2, seed=0), num_workers=2)
    kept = [next(batches).batch for _ in range(3)]
    workers = [w.pid for w in multiprocessing.active_children()]
    print(*workers, sum(len(b.voxel_labels) for b in kept), flush=True)
    if ending == "raise":
        raise RuntimeError("a fault of the main process")
    if ending == "wait":
        time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1])
