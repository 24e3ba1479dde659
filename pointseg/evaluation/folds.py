"""One report of a cross-validation from those of its folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.report import Part, SegReport
from pointseg.evaluation.rules import MetricRule
from pointseg.evaluation.scored_data import ScoredData


@dataclass(frozen=True)
class FoldOutline:
    """What is known of a fold's report before its points are counted.

    parts : name of each part -> what it is one of (`Part.group`)
    """

    split: str
    scene_ids: tuple[str, ...]
    names: tuple[str, ...]
    protocol: str
    rule: str
    parts: Mapping[str, str]
    data: ScoredData | None

    @staticmethod
    def of(report: SegReport) -> FoldOutline:
        return FoldOutline(
            report.split,
            report.scene_ids,
            report.names,
            report.protocol,
            report.rule,
            {name: part.group for name, part in report.parts.items()},
            report.data,
        )


def join_folds(
    reports: Sequence[tuple[str, SegReport]], rule: MetricRule, all_folds: Sequence[str] = ()
) -> SegReport:
    """The report of all points of all folds: confusion matrices are summed, then scored once.

    A mean of the folds' mIoUs would be another number, in which a class counts as much in a fold
    where it has ten points as in one where it has a million.

    Parameters
    ----------
    reports
        (Where it comes from, for messages; report) of each fold, over the scenes that its run was
        not trained on.
    rule
        The rule that all of them were scored by.
    all_folds
        What the ids of the scenes of each fold begin with, such as ``Area_5`` of ``Area_5_WC_1``,
        for all folds that make up the whole, where that is known; the protocol names those without
        a scene.

    Raises
    ------
    ValueError
        As `check_folds`.
    """
    check_folds([(source, FoldOutline.of(report)) for source, report in reports], rule)
    folds = [report for _, report in reports]
    first = folds[0]
    scene_ids = [scene_id for fold in folds for scene_id in fold.scene_ids]
    joined = SegReport.of(
        _sum([ConfusionMatrix.of(r.confusion, r.num_ignored) for r in folds]),
        first.names,
        _protocol(first.protocol, len(folds), missing_folds(scene_ids, all_folds), len(all_folds)),
        rule,
        scene_ids,
        "+".join(fold.split for fold in folds),
    )
    matrices = {
        name: [ConfusionMatrix.of(fold.parts[name].confusion) for fold in folds]
        for name in first.parts
    }
    parts = {name: Part.of(first.parts[name].group, _sum(m), rule) for name, m in matrices.items()}
    # Folds of which some have no scores of scenes, as older reports, have none together.
    complete = all(len(fold.scenes) == fold.num_scenes for fold in folds)
    scenes = [scene for fold in folds for scene in fold.scenes] if complete else []
    data = _joined_data([fold.data for fold in folds])
    return joined.with_parts(parts).with_data(data).with_scenes(scenes)


def check_folds(folds: Sequence[tuple[str, FoldOutline]], rule: MetricRule) -> None:
    """Refuse what `join_folds` cannot join, before any point is counted.

    Raises
    ------
    ValueError
        If there are fewer than two; if a scene or a split comes twice; if a scene was trained on;
        if classes, protocols, rules, parts, datasets or their options differ.
    """
    if len(folds) < 2:
        raise ValueError(f"expected the reports of two or more folds, got {len(folds)}")
    for source, fold in folds:
        _check_held_out(source, fold)
    _check_alike(folds, rule)
    _check_disjoint("split", [(source, fold.split.split("+")) for source, fold in folds])
    _check_disjoint("scene", [(source, fold.scene_ids) for source, fold in folds])


def missing_folds(scene_ids: Sequence[str], all_folds: Sequence[str]) -> tuple[str, ...]:
    """Those of ``all_folds`` that have no scene among ``scene_ids``."""
    return tuple(fold for fold in all_folds if not any(s.startswith(f"{fold}_") for s in scene_ids))


def _check_disjoint(kind: str, members: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Refuse what would count points twice, naming a split or scene that two sources have."""
    holders: dict[str, str] = {}
    for source, names in members:
        for name in names:
            if name in holders:
                raise ValueError(
                    f"the {kind} {name} comes twice, in {holders[name]} and {source}; each fold "
                    "must score scenes of its own"
                )
            holders[name] = source


def _check_held_out(source: str, fold: FoldOutline) -> None:
    if fold.data is not None and fold.data.trained_on:
        raise ValueError(
            f"{source} was trained on {fold.data.trained_on[0]} (data.train_split "
            f"{fold.data.train_split!r}), which the scored split {fold.split!r} has too; a fold "
            "must be scored on other scenes"
        )


def _check_alike(folds: Sequence[tuple[str, FoldOutline]], rule: MetricRule) -> None:
    (first_source, first), *others = folds
    if first.rule != rule.name:
        raise ValueError(f"{first_source}: scored by {first.rule!r}, not by {rule.name!r}")
    for source, fold in others:
        if fold.names != first.names:
            raise ValueError(
                f"{source} and {first_source} have other classes: {', '.join(fold.names)}; "
                f"{', '.join(first.names)}"
            )
        for what in ("protocol", "rule"):
            ours, theirs = getattr(fold, what), getattr(first, what)
            if ours != theirs:
                raise ValueError(
                    f"{source} has the {what} {ours!r}, {first_source} has {theirs!r}; evaluate "
                    "all folds in the same way"
                )
        if fold.parts != first.parts:
            raise ValueError(
                f"{source} has the parts {list(fold.parts) or 'none'}, {first_source} has "
                f"{list(first.parts) or 'none'}; evaluate all folds with the same --rings and "
                "--boundary"
            )
        if _origin(fold) != _origin(first):
            raise ValueError(
                f"{source} scores {_title(fold)}, {first_source} {_title(first)}; folds are of one "
                "dataset, read with the same data.options"
            )


def _origin(fold: FoldOutline) -> tuple[str, Mapping[str, object]] | None:
    return None if fold.data is None else (fold.data.dataset, fold.data.options)


def _title(fold: FoldOutline) -> str:
    return "an unnamed dataset" if fold.data is None else fold.data.title


def _joined_data(folds: Sequence[ScoredData | None]) -> ScoredData | None:
    """What all folds, which are alike, say of their data; each had another training split."""
    known = [data for data in folds if data is not None]
    if not known:
        return None
    sizes = {data.voxel_size_m for data in known}
    releases = [data.num_scenes_in_release for data in known]
    counts = [count for count in releases if count is not None]
    held_out = all(data.trained_on is not None for data in known)
    return dataclasses.replace(
        known[0],
        num_scenes_in_release=sum(counts) if len(counts) == len(releases) else None,
        voxel_size_m=sizes.pop() if len(sizes) == 1 else None,
        train_split=None,
        trained_on=() if held_out else None,
    )


def _protocol(protocol: str, num_folds: int, missing: Sequence[str], num_all: int) -> str:
    if not missing:
        return f"{num_folds}-fold, {protocol}"
    return f"{num_all - len(missing)} of {num_all} folds, without {', '.join(missing)}, {protocol}"


def _sum(matrices: Sequence[ConfusionMatrix]) -> ConfusionMatrix:
    def added(total: ConfusionMatrix, matrix: ConfusionMatrix) -> ConfusionMatrix:
        total.merge(matrix)
        return total

    return reduce(added, matrices, ConfusionMatrix(matrices[0].num_classes))
