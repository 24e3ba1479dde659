"""Datasets as they are trained on: prepared scenes of one split, brought up to date on opening."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

from pointseg.data.cache import SceneCache
from pointseg.data.labels import SCANNET20, LabelMap
from pointseg.data.prepare import prepare, raise_failures
from pointseg.data.scannet import (
    LAYOUT,
    ScanNetReader,
    ScanNetSettings,
    read_split,
    report_absent,
)
from pointseg.data.types import PointCloud

logger = logging.getLogger(__name__)


class PreparedScenes:
    """The scenes of one split in a :class:`SceneCache`: a sequence of memory-mapped clouds.

    Cheap to send to a worker process: it holds paths and ids only.
    """

    def __init__(self, cache: SceneCache, scene_ids: tuple[str, ...], label_map: LabelMap) -> None:
        self.cache = cache
        self.scene_ids = scene_ids
        self.label_map = label_map

    def __len__(self) -> int:
        return len(self.scene_ids)

    def __getitem__(self, index: int) -> PointCloud:
        return self.cache.load(self.scene_ids[index])


def resolve_root(dataset: str, root: Path | str | None) -> Path:
    """The data root: ``root`` if given, else ``$POINTSEG_DATA/<dataset>``; it must exist."""
    if root is None:
        base = os.environ.get("POINTSEG_DATA")
        if not base:
            raise FileNotFoundError(
                f"no data root for {dataset!r}: set data.root in the config, or the environment "
                f"variable POINTSEG_DATA to a folder that holds {dataset}/; {_advice(dataset)}"
            )
        root = Path(base) / dataset
        origin = "from POINTSEG_DATA; data.root in the config overrides it"
    else:
        origin = "from data.root in the config or --root"
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder ({origin}); {_advice(dataset)}")
    return root


def _advice(dataset: str) -> str:
    if dataset == "synthetic":
        return "`pointseg synthesize-rooms` writes such rooms"
    return f"expected layout:\n{LAYOUT}"


def open_scenes(
    dataset: str,
    root: Path | str | None,
    split: str,
    *,
    require_all: bool = False,
    workers: int | None = None,
) -> PreparedScenes:
    """Open a split of a dataset that is stored in ScanNet's format.

    ``root`` holds raw scenes, which are prepared into ``<root>/prepared`` where that is not up to
    date, or is itself a folder of prepared scenes (``pointseg prepare-data --out``). Listed scenes
    that are not there are left out with one warning; ``require_all`` makes them an error.
    """
    root = resolve_root(dataset, root)
    if (root / "scans").is_dir() or (root / "scans_test").is_dir():
        return _open_raw(dataset, root, split, require_all, workers)
    cache = SceneCache(root)
    index = cache.read_index()
    if index is None:
        raise FileNotFoundError(
            f"{root}: neither raw scenes (scans/) nor prepared ones (prepared.json); "
            f"{_advice(dataset)}"
        )
    return _select(cache, root, split, require_all)


def _open_raw(
    dataset: str, root: Path, split: str, require_all: bool, workers: int | None
) -> PreparedScenes:
    cache = SceneCache(root / "prepared")
    index = cache.read_index()
    # Settings of an earlier `prepare-data` stay in force: opening never undoes what it chose.
    settings = ScanNetSettings(**index["settings"]) if index is not None else ScanNetSettings()
    reader = ScanNetReader(root, settings)
    scene_dirs = reader.scene_dirs(split, require_all)
    stale = {}
    for scene_dir in scene_dirs:
        sources = {n: p for n, p in reader.source_files(scene_dir).items() if p.is_file()}
        reason = cache.stale_reason(scene_dir.name, sources, dataclasses.asdict(settings))
        if reason is not None:
            stale[scene_dir] = reason
    if stale:
        logger.info(
            "preparing %d of %d scenes of split %r into %s (%s: %s)",
            len(stale), len(scene_dirs), split, cache.folder, *_first(stale),
        )  # fmt: skip
        report = prepare(
            reader, list(stale), cache.folder, dataset=dataset, workers=workers, thorough=False
        )
        raise_failures(report)
    return PreparedScenes(cache, tuple(d.name for d in scene_dirs), SCANNET20)


def _first(stale: dict[Path, str]) -> tuple[str, str]:
    scene_dir, reason = next(iter(stale.items()))
    return scene_dir.name, reason


def _select(cache: SceneCache, root: Path, split: str, require_all: bool) -> PreparedScenes:
    available = cache.scene_ids()
    if split == "all":
        return PreparedScenes(cache, available, SCANNET20)
    listed = read_split(root, split)
    present = set(available).intersection(listed)
    report_absent(root, split, listed, present, require_all)
    return PreparedScenes(cache, tuple(s for s in listed if s in present), SCANNET20)
