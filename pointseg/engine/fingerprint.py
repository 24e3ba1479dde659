"""What the weights of a checkpoint depend on, beside their shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pointseg.engine.checkpoint import FORMAT_VERSION, Checkpoint

_MAX_LISTED = 5


@dataclass(frozen=True)
class Fingerprint:
    """The task and the model of a checkpoint, as plain values."""

    classes: tuple[str, ...]
    """Names in the order of the logits."""
    in_channels: int
    features: tuple[str, ...]
    """Of the input, in their order."""
    voxel_size_m: float
    model: str
    """Name in the registry."""
    model_options: dict[str, Any] = field(default_factory=dict)
    pointseg: str = "unknown"
    """Version that wrote it."""
    format_version: int = FORMAT_VERSION

    @staticmethod
    def describe(
        config: Mapping[str, Any],
        label_map: Mapping[str, Any],
        in_channels: int,
        pointseg: str,
        format_version: int = FORMAT_VERSION,
    ) -> Fingerprint:
        """Of a configuration and a label map as checkpoints hold them (plain values)."""
        options = dict(config["model"])
        return Fingerprint(
            classes=tuple(label_map["names"]),
            in_channels=in_channels,
            features=tuple(config["data"]["features"]),
            voxel_size_m=float(config["data"]["voxel_size_m"]),
            model=options.pop("name"),
            model_options=options,
            pointseg=pointseg,
            format_version=format_version,
        )

    @staticmethod
    def of(checkpoint: Checkpoint) -> Fingerprint:
        """That of a checkpoint; of one in an old format from its configuration."""
        stored = checkpoint.fingerprint
        if not stored:
            return Fingerprint.describe(
                checkpoint.config,
                checkpoint.label_map,
                checkpoint.in_channels,
                checkpoint.versions.get("pointseg", "unknown"),
                checkpoint.format_version,
            )
        known = {f.name for f in dataclasses.fields(Fingerprint)}
        values = {key: value for key, value in stored.items() if key in known}
        lists = {key: tuple(values[key]) for key in ("classes", "features")}
        return Fingerprint(**{**values, **lists})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and JSON."""
        plain = dataclasses.asdict(self)
        return {**plain, "classes": list(self.classes), "features": list(self.features)}

    def conflicts(self, now: Fingerprint) -> list[str]:
        """What makes the weights mean something else under ``now``, whatever their shapes: classes
        and input channels by name and order.
        """
        conflicts = []
        if self.classes != now.classes:
            conflicts.append(f"classes: {_compare_names(self.classes, now.classes)}")
        if self.features != now.features or self.in_channels != now.in_channels:
            conflicts.append(
                f"features: {', '.join(self.features)} ({self.in_channels} channels) in the "
                f"checkpoint, {', '.join(now.features)} ({now.in_channels} channels) now"
            )
        return conflicts

    def changes(self, now: Fingerprint) -> list[str]:
        """Other differences, which the weights can be used under: ``name: then, now``."""
        changes = [
            f"{name}: {getattr(self, name)} in the checkpoint, {getattr(now, name)} now"
            for name in ("voxel_size_m", "model", "pointseg")
            if getattr(self, name) != getattr(now, name)
        ]
        then, options = self.model_options, now.model_options
        return changes + [
            f"model.{key}: {then.get(key, 'not set')} in the checkpoint, "
            f"{options.get(key, 'not set')} now"
            for key in sorted(then.keys() | options.keys())
            if then.get(key) != options.get(key)
        ]

    def check(self, now: Fingerprint, source: str) -> None:
        """Raise ValueError that names ``source`` and every conflict."""
        conflicts = self.conflicts(now)
        if conflicts:
            raise ValueError(
                f"{source} was trained on another task:"
                + "".join(f"\n  {line}" for line in conflicts)
            )


def _compare_names(then: tuple[str, ...], now: tuple[str, ...]) -> str:
    counts = f"{len(then)} in the checkpoint, {len(now)} now"
    parts = [
        f"{what}: {', '.join(names[:_MAX_LISTED])}{' ...' if len(names) > _MAX_LISTED else ''}"
        for what, names in (
            ("only in the checkpoint", [name for name in then if name not in now]),
            ("only now", [name for name in now if name not in then]),
        )
        if names
    ]
    if not parts:
        at = next(i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b)
        parts = [f"in another order: class {at} is {then[at]} in the checkpoint, {now[at]} now"]
    return f"{counts}; {'; '.join(parts)}"
