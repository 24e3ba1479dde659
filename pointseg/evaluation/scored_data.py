"""Which data a report is about, and what of it the model had seen before."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pointseg.data.catalog import DatasetSpec, SceneReader
from pointseg.data.registry import listed_scenes


@dataclass(frozen=True)
class ScoredData:
    """The data behind a report.

    Attributes
    ----------
    dataset : str
        Name in ``pointseg.data.DATASETS``.
    options : mapping
        Settings of its reader that are not the default, such as ``num_sweeps``.
    num_scenes_in_release : int or None
        Scenes of the scored split in the complete release; None where that is unknown.
    voxel_size_m : float or None
        Edge of the model's voxels; None where labels were scored without a model.
    train_split : str or None
        What the model was trained on, by name.
    trained_on : tuple of str, or None
        The scored scenes that are in ``train_split``; None where that is unknown. These few say
        whether scores are those of unseen scenes, and the whole of a split would be thousands.
    """

    dataset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    num_scenes_in_release: int | None = None
    voxel_size_m: float | None = None
    train_split: str | None = None
    trained_on: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """Such as ``semantickitti (num_sweeps 2)``."""
        options = ", ".join(f"{key} {value}" for key, value in sorted(self.options.items()))
        return f"{self.dataset} ({options})" if options else self.dataset

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> ScoredData:
        """What `to_dict` gave; KeyError for a key that is missing."""
        values = {f.name: stored[f.name] for f in dataclasses.fields(ScoredData)}
        seen = values["trained_on"]
        return ScoredData(**{**values, "trained_on": None if seen is None else tuple(seen)})


def changed_options(spec: DatasetSpec, reader: SceneReader) -> dict[str, Any]:
    """The settings of a reader, raw or of prepared scenes, that are not the dataset's defaults."""
    settings = reader.settings
    values = settings if isinstance(settings, Mapping) else dataclasses.asdict(settings)
    defaults = dataclasses.asdict(spec.settings())
    return {key: value for key, value in values.items() if defaults.get(key) != value}


def seen_in_training(
    reader: SceneReader, scored: Sequence[str], train_split: str
) -> tuple[str, ...] | None:
    """Those of the scored scenes that ``train_split`` has; None where there is no list of it."""
    try:
        trained_on = set(listed_scenes(reader.listed, train_split))
    except (ValueError, FileNotFoundError):
        return None
    return tuple(scene_id for scene_id in scored if scene_id in trained_on)
