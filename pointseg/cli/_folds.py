"""The folds of a cross-validation: scored one by one or read from earlier scores, then joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pointseg.data import open_reader
from pointseg.data.registry import listed_scenes
from pointseg.evaluation import SegReport, benchmark_of_rule, join_folds, read_json
from pointseg.evaluation.folds import check_disjoint, missing_folds
from pointseg.experiment_config import ExperimentConfig


def score_folds(
    sources: Sequence[Path],
    read_config: Callable[[Path], ExperimentConfig],
    score_run: Callable[[Path], SegReport],
) -> tuple[SegReport, dict[str, Any]]:
    """The joined report of all folds, and what JSON says of them.

    sources      evaluation.json files, checkpoints or run directories, in any mixture
    read_config  gives the configuration of a run
    score_run    scores a run on its own validation split

    Raises ValueError as `join_folds`, and for a run that was trained on what it is scored on; what
    can be known before the first run is scored is said then.
    """
    stored = {path: _read(path) for path in sources if path.suffix == ".json"}
    planned = [
        (str(p), stored[p].scene_ids if p in stored else _own_scenes(p, read_config(p)))
        for p in sources
    ]
    check_disjoint("scene", planned)
    folds = [(str(p), stored[p] if p in stored else score_run(p)) for p in sources]
    benchmark = benchmark_of_rule(folds[0][1].rule)
    joined = join_folds(folds, benchmark.rule, benchmark.folds)
    context = {
        "folds": [
            {
                "source": source,
                "split": report.split,
                "num_scenes": report.num_scenes,
                "mean_iou": report.to_dict()["mean_iou"],
            }
            for source, report in folds
        ],
        "missing_folds": list(missing_folds(joined.scene_ids, benchmark.folds)),
    }
    return joined, context


def _read(path: Path) -> SegReport:
    return read_json(path, lambda name: benchmark_of_rule(name).rule)


def _own_scenes(source: Path, config: ExperimentConfig) -> tuple[str, ...]:
    """The scenes that a run is scored on, none of which it was trained on."""
    data = config.data
    reader = open_reader(data.dataset, data.root, data.options)
    own = listed_scenes(reader.listed, data.val_split)
    trained_on = set(listed_scenes(reader.listed, data.train_split))
    seen = next((scene_id for scene_id in own if scene_id in trained_on), None)
    if seen is not None:
        raise ValueError(
            f"{source} was trained on {seen} (data.train_split {data.train_split!r}), which its "
            f"data.val_split {data.val_split!r} has too; a fold must be scored on other scenes"
        )
    return own
