"""What a transform is, and the registry that builds lists of them from configuration."""

from __future__ import annotations

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pointseg.data.labels import LabelMap
from pointseg.data.types import PointCloud


class Transform(Protocol):
    """A function of a cloud and a random generator; the input and its arrays are never modified.

    Where it has an attribute ``moves_sensor`` that is true, angles about the origin mean
    nothing after it.
    """

    def __call__(self, cloud: PointCloud, rng: np.random.Generator, /) -> PointCloud: ...


_M = TypeVar("_M", bound="MixingTransform")


@dataclass(frozen=True)
class MixingTransform(ABC):
    """A transform that takes a second scene: ``mix`` it in where ``applies`` says so.

    The two are apart so that the second scene is read only where it is needed. ``probability`` is
    the share of the scenes that are mixed.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self.probability)

    @property
    def about_sensor(self) -> bool:
        """Whether it measures angles about the sensor, which nothing before it may have moved."""
        return False

    def applies(self, rng: np.random.Generator) -> bool:
        """Draw whether a scene is mixed."""
        return bool(rng.random() < self.probability)

    @abstractmethod
    def mix(self, cloud: PointCloud, other: PointCloud, rng: np.random.Generator) -> PointCloud:
        """``cloud`` with points of ``other``, under the id and the origin of ``cloud``.

        Inputs are never modified. ValueError where one has an array that the other lacks.
        """

    def with_classes(self: _M, label_map: LabelMap) -> _M:
        """The transform with train ids in place of names of classes; ValueError for an unknown
        one.
        """
        return self


SceneTransform = Transform | MixingTransform
"""What a list of transforms holds."""


TRANSFORMS: dict[str, type[Any]] = {}
"""Transform classes (dataclasses) by their name in configuration files."""

_T = TypeVar("_T")


def register(name: str) -> Callable[[type[_T]], type[_T]]:
    """Class decorator: make a transform available to configuration files under ``name``."""

    def add(cls: type[_T]) -> type[_T]:
        if name in TRANSFORMS:
            raise ValueError(f"a transform named {name!r} is registered already")
        TRANSFORMS[name] = cls
        return cls

    return add


def build_transform(spec: Mapping[str, Any]) -> SceneTransform:
    """A transform from ``{"name": ..., option: value, ...}``.

    An unknown name or option is a ValueError that names the nearest valid one.
    """
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ValueError(f"a transform is written {{name: ..., option: value}}, got {spec!r}")
    options = {key: _as_tuple(value) for key, value in spec.items() if key != "name"}
    name = spec["name"]
    if name not in TRANSFORMS:
        raise ValueError(f"unknown transform {name!r}{_nearest(name, TRANSFORMS)}")
    cls = TRANSFORMS[name]
    valid = [field.name for field in dataclasses.fields(cls)]
    for key in options:
        if key not in valid:
            raise ValueError(f"transform {name!r} has no option {key!r}{_nearest(key, valid)}")
    try:
        transform: SceneTransform = cls(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"transform {name!r}: {error}") from error
    return transform


def build_transforms(specs: Iterable[Mapping[str, Any]]) -> tuple[SceneTransform, ...]:
    """The transforms of a configuration's list, in order.

    One that measures angles about the sensor, behind one that moves it, is a ValueError.
    """
    built: list[SceneTransform] = []
    mover: str | None = None
    for spec in specs:
        transform = build_transform(spec)
        if mover is not None and getattr(transform, "about_sensor", False):
            raise ValueError(
                f"transform {spec['name']!r} measures angles about the sensor, which {mover!r} "
                f"moves away from the origin; put {spec['name']!r} before it"
            )
        if getattr(transform, "moves_sensor", False):
            mover = spec["name"]
        built.append(transform)
    return tuple(built)


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list | tuple) else value


def _nearest(name: object, valid: Any) -> str:
    close = difflib.get_close_matches(str(name), list(valid), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (valid: {', '.join(valid)})"


def check_probability(value: float, name: str = "probability") -> None:
    """ValueError unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


def check_count(name: str, value: object) -> None:
    """ValueError unless the value is a whole number >= 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def is_numbers(value: object, count: int) -> bool:
    """Whether the value is a tuple of so many numbers."""
    return (
        isinstance(value, tuple)
        and len(value) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    )


def check_non_negative(**values: float) -> None:
    """ValueError for the first value below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be >= 0, got {value}")


def column_range(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Minimum and maximum of each column of [P, 3]; 40 times faster than over axis 0 at once."""
    columns = np.ascontiguousarray(array.T)
    return columns.min(axis=1), columns.max(axis=1)
