"""The folds of a cross-validation: scored one by one or read from earlier scores, then joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pointseg.evaluation import SegReport, benchmark_of_rule, join_folds, read_json
from pointseg.evaluation.folds import FoldOutline, check_folds, missing_folds


def is_report(source: Path) -> bool:
    """Whether a source of a fold is an evaluation.json, not a run."""
    return source.suffix == ".json"


def score_folds(
    sources: Sequence[Path],
    outline_run: Callable[[Path], FoldOutline],
    score_run: Callable[[Path], SegReport],
) -> tuple[SegReport, dict[str, Any]]:
    """The joined report of all folds, and what JSON says of them.

    sources      evaluation.json files, checkpoints or run directories, in any mixture
    outline_run  says how a run is going to be scored, on its own validation split
    score_run    scores it

    Raises ValueError as `check_folds`, and for a source of which nobody knows whether it was
    trained on what it scores: before the first run is scored.
    """
    stored = {path: _read(path) for path in sources if is_report(path)}
    outlines = [
        (str(path), FoldOutline.of(stored[path]) if path in stored else outline_run(path))
        for path in sources
    ]
    for source, outline in outlines:
        _check_training_is_known(source, outline)
    benchmark = benchmark_of_rule(outlines[0][1].rule)
    check_folds(outlines, benchmark.rule)
    folds = [(str(p), stored[p] if p in stored else score_run(p)) for p in sources]
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
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; pass the evaluation.json of `pointseg evaluate --out`, a "
            "checkpoint or a run directory"
        )
    return read_json(path, lambda name: benchmark_of_rule(name).rule)


def _check_training_is_known(source: str, outline: FoldOutline) -> None:
    data = outline.data
    if data is not None and data.trained_on is not None:
        return
    if data is None or data.train_split is None:
        raise ValueError(
            f"{source} does not say what the model was trained on; write it again with "
            "`pointseg evaluate --out`"
        )
    raise ValueError(
        f"{source}: the scenes of data.train_split {data.train_split!r} are not known beside those "
        "that were scored, so nobody can say whether the model had seen them; evaluate it where "
        "the list of that split is"
    )
