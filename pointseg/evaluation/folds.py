"""One report of a cross-validation from those of its folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.report import Part, SegReport
from pointseg.evaluation.rules import MetricRule


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
        If there are fewer than two; if a scene or a split comes twice; if classes, protocols,
        rules or parts differ.
    """
    if len(reports) < 2:
        raise ValueError(f"expected the reports of two or more folds, got {len(reports)}")
    _check_alike(reports, rule)
    check_disjoint("split", [(source, split_names(report.split)) for source, report in reports])
    check_disjoint("scene", [(source, report.scene_ids) for source, report in reports])
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
    return joined.with_parts(parts).with_scenes(scenes)


def split_names(split: str) -> list[str]:
    """The splits that a joined one (``a+b``) is made of."""
    return split.split("+")


def missing_folds(scene_ids: Sequence[str], all_folds: Sequence[str]) -> tuple[str, ...]:
    """Those of ``all_folds`` that have no scene among ``scene_ids``."""
    return tuple(fold for fold in all_folds if not any(s.startswith(f"{fold}_") for s in scene_ids))


def check_disjoint(kind: str, members: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Refuse what would count points twice: ValueError naming a member that two sources have.

    kind     "split" or "scene"
    members  (source, its splits or scenes) of each fold
    """
    holders: dict[str, str] = {}
    for source, names in members:
        for name in names:
            if name in holders:
                raise ValueError(
                    f"the {kind} {name} comes twice, in {holders[name]} and {source}; each fold "
                    "must score scenes of its own"
                )
            holders[name] = source


def _protocol(protocol: str, num_folds: int, missing: Sequence[str], num_all: int) -> str:
    if not missing:
        return f"{num_folds}-fold, {protocol}"
    return f"{num_all - len(missing)} of {num_all} folds, without {', '.join(missing)}, {protocol}"


def _check_alike(reports: Sequence[tuple[str, SegReport]], rule: MetricRule) -> None:
    (first_source, first), *others = reports
    if first.rule != rule.name:
        raise ValueError(f"{first_source}: scored by {first.rule!r}, not by {rule.name!r}")
    for source, report in others:
        if report.names != first.names:
            raise ValueError(
                f"{source} and {first_source} have other classes: {', '.join(report.names)}; "
                f"{', '.join(first.names)}"
            )
        for what in ("protocol", "rule"):
            ours, theirs = getattr(report, what), getattr(first, what)
            if ours != theirs:
                raise ValueError(
                    f"{source} has the {what} {ours!r}, {first_source} has {theirs!r}; evaluate "
                    "all folds in the same way"
                )
        parts = [{name: part.group for name, part in r.parts.items()} for r in (report, first)]
        if parts[0] != parts[1]:
            raise ValueError(
                f"{source} has the parts {list(report.parts) or 'none'}, {first_source} has "
                f"{list(first.parts) or 'none'}; evaluate all folds with the same --rings and "
                "--boundary"
            )


def _sum(matrices: Sequence[ConfusionMatrix]) -> ConfusionMatrix:
    def added(total: ConfusionMatrix, matrix: ConfusionMatrix) -> ConfusionMatrix:
        total.merge(matrix)
        return total

    return reduce(added, matrices, ConfusionMatrix(matrices[0].num_classes))
