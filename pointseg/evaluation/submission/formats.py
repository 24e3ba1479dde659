"""What each benchmark's server takes: names of files, their encoding, and what else must be there.

Sources: ScanNet's ``BenchmarkScripts/3d_evaluation`` and documentation; ``validate_submission.py``
and ``evaluate_semantics.py`` of PRBonn/semantic-kitti-api; ``eval/lidarseg`` of
nutonomy/nuscenes-devkit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pointseg.data.labels import LabelMap
from pointseg.evaluation.submission.encodings import BinaryLabels, LabelEncoding, TextLabels


@dataclass(frozen=True)
class ExtraFile:
    """A file beside the labels.

    member    its path within a submission; ``{split}`` stands for the split
    default   what is written unless the user brings one; None where it may be absent
    problems  what is wrong with the content of one
    """

    member: str
    default: bytes | None
    problems: Callable[[bytes], list[str]]


@dataclass(frozen=True)
class SubmissionFormat:
    """How the labels of a split are handed in to one benchmark.

    name            of the benchmark, for messages
    scene_pattern   regular expression of a whole scene id
    scene_example   an id of that form
    member          path of a scene's file within folder or zip, in terms of the named groups of
                    ``scene_pattern`` and ``{split}``
    encoding        of the labels
    extras          files beside the labels
    splits          those that ``{split}`` may be; empty where paths do not depend on the split
    folder_entries  whether a zip must list every folder as an entry of its own
    maps_raw_ids    whether the server takes every id that annotations may hold
                    (``LabelMap.reads``), or only those of the classes
    """

    name: str
    scene_pattern: str
    scene_example: str
    member: str
    encoding: LabelEncoding
    extras: tuple[ExtraFile, ...] = ()
    splits: tuple[str, ...] = ()
    folder_entries: bool = False
    maps_raw_ids: bool = False

    def member_of(self, scene_id: str, split: str) -> str:
        """Path of a scene's labels; ValueError for an id or split that the server does not know."""
        match = re.fullmatch(self.scene_pattern, scene_id)
        if match is None:
            raise ValueError(
                f"scene {scene_id!r} is not named as a submission to {self.name} needs it, such as "
                f"{self.scene_example!r}; is it the data set of another benchmark?"
            )
        return self.member.format(**match.groupdict(), split=self._known(split))

    def members_of(self, scene_ids: Iterable[str], split: str) -> dict[str, str]:
        """Path -> scene id, in the order of ``scene_ids``."""
        return {self.member_of(scene_id, split): scene_id for scene_id in scene_ids}

    def extras_of(self, split: str) -> dict[str, ExtraFile]:
        """Path -> file beside the labels."""
        return {extra.member.format(split=self._known(split)): extra for extra in self.extras}

    def tolerated_ids(self, label_map: LabelMap) -> tuple[int, ...]:
        """Ids that are not those of the classes, but that the server takes all the same."""
        if not self.maps_raw_ids:
            return ()
        taken = {label_map.unlabelled, *(label_map.reads or ())}
        return tuple(sorted(taken.difference(label_map.raw_ids)))

    def train_ids(self, raw_ids: NDArray[np.integer], label_map: LabelMap) -> NDArray[np.int16]:
        """What the server makes of submitted ids: train ids, -1 for none of the classes."""
        return label_map.to_train(raw_ids) if self.maps_raw_ids else label_map.from_raw(raw_ids)

    def _known(self, split: str) -> str:
        if self.splits and split not in self.splits:
            raise ValueError(
                f"a submission to {self.name} is of one split of {', '.join(self.splits)}; got "
                f"{split!r}"
            )
        return split


def folders_of(members: Iterable[str]) -> list[str]:
    """Every folder above the members, with a slash at the end, parents first."""
    parents = {p for member in members for p in PurePosixPath(member).parents}
    return sorted(f"{parent}/" for parent in parents if parent.name)


SENSORS: Final = ("use_camera", "use_lidar", "use_radar", "use_map", "use_external")


def _sensor_problems(data: bytes) -> list[str]:
    """What the nuScenes devkit refuses in ``submission.json``."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:  # encoding, syntax, nesting
        return [f"not valid json ({error})"]
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return ["needs an object 'meta' with " + ", ".join(SENSORS)]
    problems = [f"meta lacks {name!r}" for name in SENSORS if name not in meta]
    problems += [f"meta has the unknown key {name!r}" for name in meta if name not in SENSORS]
    problems += [
        f"meta: {name} must be true or false, got {value!r}"
        for name, value in meta.items()
        if name in SENSORS and not isinstance(value, bool)
    ]
    return problems


def _text_problems(data: bytes) -> list[str]:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"cannot be read as UTF-8 text ({error})"]
    return []


def _lidar_only() -> bytes:
    meta = {name: name == "use_lidar" for name in SENSORS}
    return (json.dumps({"meta": meta}, indent=1) + "\n").encode("ascii")


SCANNET: Final = SubmissionFormat(
    name="ScanNet",
    scene_pattern=r"(?P<scene>scene\d{4}_\d{2})",
    scene_example="scene0707_00",
    member="{scene}.txt",
    encoding=TextLabels(),
)
"""One text file a scan at the top, nyu40 ids (ScanNet200: ScanNet ids), a line a vertex."""

SEMANTICKITTI: Final = SubmissionFormat(
    name="SemanticKITTI",
    scene_pattern=r"(?P<sequence>\d{2})_(?P<scan>\d{6})",
    scene_example="11_000000",
    member="sequences/{sequence}/predictions/{scan}.label",
    encoding=BinaryLabels("<u4", id_bits=16),
    extras=(ExtraFile("description.txt", None, _text_problems),),
    folder_entries=True,
    maps_raw_ids=True,
)
"""A uint32 a point, original ids; the server masks instance ids and maps the rest to classes."""

NUSCENES: Final = SubmissionFormat(
    name="nuScenes-lidarseg",
    scene_pattern=r"(?P<token>[0-9a-f]{32})",
    scene_example="0" * 32,
    member="lidarseg/{split}/{token}_lidarseg.bin",
    encoding=BinaryLabels("u1", id_bits=8),
    extras=(ExtraFile("{split}/submission.json", _lidar_only(), _sensor_problems),),
    splits=("train", "val", "test", "mini_train", "mini_val"),
)
"""A uint8 a point, 1..16 and nothing else, and a json of which sensors were used."""
