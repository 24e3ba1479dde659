"""Datasets by name: what is registered, and how one is opened."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pointseg.data import nuscenes, s3dis, scannet, scannet200, semantickitti
from pointseg.data.cache import SceneCache
from pointseg.data.catalog import DatasetSpec, SceneReader, build_settings
from pointseg.data.labels import LabelMap
from pointseg.data.prepare import prepare, raise_failures
from pointseg.data.prepared import PreparedReader
from pointseg.data.types import PointCloud

logger = logging.getLogger(__name__)

DATASETS: dict[str, DatasetSpec] = {
    "nuscenes": nuscenes.SPEC,
    "scannet": scannet.SPEC,
    "scannet200": scannet200.SPEC,
    # Generated rooms: the same format on disk, read by the same code.
    "synthetic": dataclasses.replace(
        scannet.SPEC, expected=None, remedy="`pointseg synthesize-rooms` writes such rooms"
    ),
    "s3dis": s3dis.SPEC,
    "synthetic_s3dis": dataclasses.replace(
        s3dis.SPEC,
        expected=None,
        remedy="`pointseg synthesize-rooms --format s3dis` writes such rooms",
    ),
    "semantickitti": semantickitti.SPEC,
    "streets": semantickitti.STREETS,
}
"""Datasets by name."""


def find_spec(name: str) -> DatasetSpec:
    """The dataset of that name; ValueError with the known names otherwise."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r} (valid: {', '.join(DATASETS)})")
    return DATASETS[name]


class Scenes:
    """Some scenes of a reader: a sequence of clouds, read when asked for.

    Cheap to send to a worker process: it holds the reader and ids only.
    """

    def __init__(self, reader: SceneReader, scene_ids: Sequence[str], label_map: LabelMap) -> None:
        self.reader = reader
        self.scene_ids = tuple(scene_ids)
        self.label_map = label_map

    def __len__(self) -> int:
        return len(self.scene_ids)

    def __getitem__(self, index: int) -> PointCloud:
        return self.reader.read_scene(self.scene_ids[index])

    def num_points(self, index: int) -> int:
        """Points of a scene, which is not read for it."""
        return self.reader.num_points(self.scene_ids[index])


def resolve_root(dataset: str, root: Path | str | None) -> Path:
    """The data root: ``root`` if given, else ``$POINTSEG_DATA/<dataset>``; it must exist."""
    advice = _advice(find_spec(dataset))
    if root is None:
        base = os.environ.get("POINTSEG_DATA")
        if not base:
            raise FileNotFoundError(
                f"no data root for {dataset!r}: set data.root in the config, or the environment "
                f"variable POINTSEG_DATA to a folder that holds {dataset}/; {advice}"
            )
        root = Path(base) / dataset
        origin = "from POINTSEG_DATA; data.root in the config overrides it"
    else:
        origin = "from data.root in the config or --root"
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder ({origin}); {advice}")
    return root


def open_reader(
    dataset: str, root: Path | str | None = None, options: Mapping[str, Any] | None = None
) -> SceneReader:
    """The scenes at a root, raw or prepared, by id; nothing is prepared. ``options`` are settings
    of raw scenes.
    """
    spec, root = find_spec(dataset), resolve_root(dataset, root)
    if spec.is_raw(root):
        return spec.open(root, options)
    reader = PreparedReader(root)
    if reader.cache.read_index() is None:
        raise FileNotFoundError(
            f"{root}: neither raw scenes ({', '.join(spec.marks)}) nor prepared ones "
            f"(prepared.json); {_advice(spec)}"
        )
    made_for = DATASETS.get(reader.dataset)
    if made_for is None or made_for.label_map is not spec.label_map:
        raise ValueError(
            f"{root}: prepared scenes of the data set {reader.dataset!r}, whose classes are "
            f"not those of {dataset!r}; name that one, or another root"
        )
    _refuse_other_settings(root, reader.settings, spec, options)
    return reader


def open_dataset(
    name: str,
    root: Path | str | None,
    split: str,
    *,
    options: Mapping[str, Any] | None = None,
    require_all: bool = False,
    workers: int | None = None,
) -> Scenes:
    """The scenes of a split of a registered dataset.

    ``root`` (None: ``$POINTSEG_DATA/<name>``) holds raw scenes, which are prepared into
    ``<root>/prepared`` (``DatasetSpec.prepared_in``) where that is not up to date and the format
    gains by it, or is itself a folder of prepared scenes (``pointseg prepare-data --out``).

    ``split`` is one of the dataset's splits, ``all``, or several joined by ``+``. Listed scenes
    that are not there are left out with one warning; ``require_all`` makes them an error.
    ``options`` are settings of the reader. An unknown name, split or option is a ValueError.
    """
    spec, reader = find_spec(name), open_settled(name, root, options)
    scene_ids = present_scenes(reader, split, spec, require_all)
    if spec.prepared and not isinstance(reader, PreparedReader):
        cache = SceneCache(reader.root / spec.prepared_in)
        _bring_up_to_date(name, spec, reader, cache, split, scene_ids, workers)
        reader = PreparedReader(cache.folder)
    return Scenes(reader, scene_ids, spec.label_map)


def open_settled(
    name: str, root: Path | str | None = None, options: Mapping[str, Any] | None = None
) -> SceneReader:
    """As `open_reader`, with the settings that `open_dataset` reads the scenes by.

    Where ``options`` has none, these are those of an earlier ``prepare-data``: opening never undoes
    what it chose.
    """
    spec, reader = find_spec(name), open_reader(name, root, options)
    if not spec.prepared or isinstance(reader, PreparedReader):
        return reader
    cache = SceneCache(reader.root / spec.prepared_in)
    index = cache.read_index()
    if index is None:
        return reader
    if options:
        _refuse_other_settings(cache.folder, index["settings"], spec, options)
        return reader
    return _reopened(spec, reader.root, cache.folder, index["settings"])


def present_scenes(
    reader: SceneReader, split: str, spec: DatasetSpec, require_all: bool = False
) -> tuple[str, ...]:
    """The ids of a split (``a+b`` joins two) that are on disk, in the order of the list.

    What is missing of the list, or of the complete release where there is no list, is a warning;
    with ``require_all``, and where nothing is there, a FileNotFoundError.
    """
    listed = listed_scenes(reader.listed, split)
    present = tuple(scene_id for scene_id in listed if reader.has(scene_id))
    total = _complete(spec, split, len(listed))
    if not present:
        what = f"none of the {len(listed)} scenes of split {split!r}" if listed else "no scene"
        raise FileNotFoundError(f"{reader.root}: {what} is there; expected\n{spec.layout}")
    if len(present) < total:
        absent = total - len(present)
        message = f"{reader.root}: {absent} of {total} scenes of split {split!r} are not there"
        there = set(present)
        first = next((scene_id for scene_id in listed if scene_id not in there), None)
        example = "" if first is None else f" (first: {first})"
        if require_all:
            raise FileNotFoundError(f"{message}{example}; download them, or allow a partial split")
        logger.warning("%s and are left out%s", message, example)
    return present


def _complete(spec: DatasetSpec, split: str, listed: int) -> int:
    """How many scenes a split has, of which ``listed`` are known by name."""
    if not spec.listed_as_found:
        return listed
    counts = [(spec.expected or {}).get(part) for part in split.split("+")]
    return max(listed, sum(n or 0 for n in counts))


def listed_scenes(listed: Callable[[str], Iterable[str]], split: str) -> tuple[str, ...]:
    """The scenes of all parts of ``a+b``; one that is in two of them is a ValueError."""
    scene_ids = [scene_id for part in split.split("+") for scene_id in listed(part)]
    if len(set(scene_ids)) < len(scene_ids):
        twice = Counter(scene_ids).most_common(1)[0][0]
        raise ValueError(f"split {split!r}: scene {twice} is in two of its parts")
    return tuple(scene_ids)


def split_lists(reader: SceneReader, spec: DatasetSpec) -> dict[str, tuple[str, ...]]:
    """The scenes of each split that there is a list of."""
    lists = {}
    for split in spec.splits:
        try:
            lists[split] = tuple(reader.listed(split))
        except FileNotFoundError as error:  # no official list beside these scenes
            logger.info("%s", error)
    return lists


def _reopened(
    spec: DatasetSpec, root: Path, folder: Path, settings: Mapping[str, Any]
) -> SceneReader:
    """The reader with the settings that ``folder`` was prepared with."""
    try:
        return spec.open(root, settings)
    except ValueError as error:
        raise ValueError(
            f"{folder}: prepared with settings that this release does not have ({error}); run "
            "`pointseg prepare-data` again, which makes the scenes anew"
        ) from error


def _bring_up_to_date(
    name: str,
    spec: DatasetSpec,
    reader: SceneReader,
    cache: SceneCache,
    split: str,
    scene_ids: Sequence[str],
    workers: int | None,
) -> None:
    settings = dataclasses.asdict(reader.settings)
    stale = {}
    for scene_id in scene_ids:
        reason = cache.stale_reason(scene_id, reader.source_files(scene_id), settings)
        if reason is not None:
            stale[scene_id] = reason
    if not stale:
        return
    logger.info(
        "preparing %d of %d scenes of split %r into %s (%s: %s)",
        len(stale), len(scene_ids), split, cache.folder, *next(iter(stale.items())),
    )  # fmt: skip
    lists = split_lists(reader, spec)
    report = prepare(
        reader, list(stale), cache.folder,
        dataset=name, splits=lists, workers=workers, thorough=False,
    )  # fmt: skip
    raise_failures(report)


def _refuse_other_settings(
    folder: Path,
    recorded: Mapping[str, Any],
    spec: DatasetSpec,
    options: Mapping[str, Any] | None,
) -> None:
    """ValueError where ``options`` ask for other settings than scenes were prepared with."""
    wanted = dataclasses.asdict(build_settings(spec.settings, options or {}))
    for key in options or {}:
        if wanted[key] != recorded.get(key):
            raise ValueError(
                f"{folder}: prepared with {key} = {recorded.get(key)!r}, asked for with "
                f"{wanted[key]!r}; prepare the scenes again with `pointseg prepare-data --option "
                f"{key}={wanted[key]}`, or elsewhere with --out"
            )


def _advice(spec: DatasetSpec) -> str:
    return spec.remedy or f"expected layout:\n{spec.layout}"
