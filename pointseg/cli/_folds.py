"""The folds of a cross-validation: scored one by one or read from earlier scores, then joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pointseg.evaluation import SegReport, benchmark_of_rule, join_folds, read_json
from pointseg.evaluation.folds import missing_folds, split_names
from pointseg.experiment import Trained


def score_folds(
    sources: Sequence[Path], score_run: Callable[[Path], tuple[Trained, SegReport]]
) -> tuple[SegReport, dict[str, Any]]:
    """The joined report of all folds, and what JSON says of them.

    sources    evaluation.json files, checkpoints or run directories, in any mixture
    score_run  loads a run and scores it on its own validation split

    Raises ValueError as `join_folds`, and for a run that was trained on what it is scored on.
    """
    folds = [
        (str(source), _read(source) if source.suffix == ".json" else _scored(source, score_run))
        for source in sources
    ]
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


def _scored(source: Path, score_run: Callable[[Path], tuple[Trained, SegReport]]) -> SegReport:
    trained, report = score_run(source)
    trained_on = split_names(trained.config.data.train_split)
    seen = [name for name in split_names(report.split) if name in trained_on]
    if seen:
        raise ValueError(
            f"{source} was trained on {seen[0]}, which its data.val_split scores it on; a fold "
            "must be trained on the others alone"
        )
    return report
