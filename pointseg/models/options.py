"""From options that are plain data, as a configuration file gives them, to frozen dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def nearest(word: str, words: Iterable[str]) -> str:
    """The hint at the most similar of `words`, for the end of a message; empty where none is."""
    matches = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def check_names(options: Iterable[str], names: list[str], owner: str) -> None:
    """ValueError that names an option which is none of `names`, and the nearest that is."""
    for option in options:
        if option not in names:
            raise ValueError(
                f"{owner} has no option {option!r}{nearest(str(option), names)}; "
                f"it takes {', '.join(names)}"
            )


def updated(value: T, options: Mapping[str, Any], owner: str) -> T:
    """`value`, a frozen dataclass, with the fields replaced that `options` names.

    Where a field holds a dataclass itself, its option is a mapping that is applied in the same way,
    or a bare name where that dataclass has a field `name`. owner: what messages call `value`.

    Raises ValueError for a name that is no field, TypeError for a value that should be a mapping,
    and what the dataclass raises for a bad value.
    """
    fields = dataclasses.fields(value)  # type: ignore[arg-type]
    current = {field.name: getattr(value, field.name) for field in fields}
    changes = _read_options(current, options, owner)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def from_options(schema: type[T], options: Mapping[str, Any], owner: str) -> T:
    """The same over the defaults of the dataclass `schema`; TypeError where a field has none."""
    current = {}
    for field in dataclasses.fields(schema):  # type: ignore[arg-type]
        made = field.default_factory
        current[field.name] = field.default if made is dataclasses.MISSING else made()
    return schema(**_read_options(current, options, owner))


def _read_options(
    current: Mapping[str, Any], options: Mapping[str, Any], owner: str
) -> dict[str, Any]:
    check_names(options, list(current), owner)
    return {
        name: _nested(current[name], option, f"{owner}: {name}")
        if _is_value(current[name]) and not _is_value(option)
        else _plain(current[name], option, f"{owner}: {name}")
        for name, option in options.items()
    }


def _plain(current: Any, option: Any, owner: str) -> Any:
    """`option`; TypeError where it is no number, or no text, and the field holds one."""
    for kinds, what in (((int,), "an integer"), ((int, float), "a number"), ((str,), "text")):
        if type(current) is kinds[-1] and type(option) not in kinds:
            raise TypeError(f"{owner}: expected {what}, got {option!r}")
    return option


def _nested(current: Any, option: Any, owner: str) -> Any:
    names = [field.name for field in dataclasses.fields(current)]
    if isinstance(option, str) and "name" in names:
        option = {"name": option}
    if not isinstance(option, Mapping):
        raise TypeError(f"{owner} must be a mapping with {', '.join(names)}, got {option!r}")
    try:
        return updated(current, option, owner)
    except (TypeError, ValueError) as error:
        if owner in str(error):
            raise
        raise type(error)(f"{owner}: {error}") from error


def _is_value(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
