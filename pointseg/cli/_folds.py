"""The folds of a cross-validation: scored one by one or read from earlier scores, then joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pointseg.evaluation import SegReport, benchmark_of_rule, join_folds, read_json
from pointseg.evaluation.folds import check_disjoint, missing_folds, split_names
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
    splits = [
        (str(p), split_names(stored[p].split) if p in stored else _own_splits(p, read_config(p)))
        for p in sources
    ]
    check_disjoint("split", splits)
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
        "missing_folds": list(missing_folds(split_names(joined.split), benchmark.folds)),
    }
    return joined, context


def _read(path: Path) -> SegReport:
    return read_json(path, lambda name: benchmark_of_rule(name).rule)


def _own_splits(source: Path, config: ExperimentConfig) -> list[str]:
    """What a run is scored on, none of which it was trained on."""
    splits = split_names(config.data.val_split)
    seen = set(splits).intersection(split_names(config.data.train_split))
    if seen:
        raise ValueError(
            f"{source} was trained on {min(seen)}, which is also its data.val_split; a fold must "
            "be scored on scenes that it was not trained on"
        )
    return splits
