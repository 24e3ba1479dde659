"""Configuration files: YAML read into frozen dataclasses, with errors that name key, file and
remedy.

The dataclass is the schema. Its fields may be ``bool``, ``int``, ``float``, ``str``, ``Any``, ``T |
None``, ``Literal[...]``, ``tuple[T, ...]``, ``tuple[A, B]``, ``dict[str, T]``, another dataclass,
or :class:`Named`. A file may name one parent with ``base: other.yaml`` (relative to itself; a
parent has no parent of its own): mappings are merged key by key, lists and values are replaced.
``a.b=c`` overrides come last, their values read as YAML.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

T = TypeVar("T")

OVERRIDE_SOURCE = "--set"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the file and what to write
    instead.
    """


@dataclass(frozen=True)
class Named:
    """A choice from a registry, written ``{name: rotate, degrees: 180}``: its name and everything
    beside it.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)


def load(schema: type[T], path: str | Path, overrides: Iterable[str] = ()) -> T:
    """Read a YAML file (and its ``base``) into ``schema`` and apply ``key.path=value`` overrides.

    Raises ConfigError for an unknown key, a value of the wrong type, a missing key, or an
    unreadable file.
    """
    path = Path(path)
    raw = read_yaml(path)
    base = raw.pop("base", None)
    layers: list[tuple[dict[str, Any], str]] = []
    if base is not None:
        if not isinstance(base, str):
            raise ConfigError(f"{path}: key 'base': expected a file name, got {base!r}")
        base_path = path.parent / base
        base_raw = read_yaml(base_path)
        if "base" in base_raw:
            raise ConfigError(
                f"{base_path}: it is the base of {path} and has a base itself; only one level is "
                "read: copy what is needed into one of them"
            )
        layers.append((base_raw, str(base_path)))
    layers.append((raw, str(path)))
    return _build_layers(schema, layers, overrides)


def from_dict(
    schema: type[T], raw: Mapping[str, Any], source: str, overrides: Iterable[str] = ()
) -> T:
    """Build ``schema`` from a mapping, such as the one that :func:`to_dict` gives; ``source`` names
    it in errors.
    """
    return _build_layers(schema, [(dict(raw), source)], overrides)


def to_dict(value: Any) -> Any:
    """Turn a configuration into plain dicts, lists and scalars (what YAML, JSON and checkpoints
    hold).
    """
    if isinstance(value, Named):
        return {"name": value.name, **{k: to_dict(v) for k, v in value.options.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: to_dict(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_dict(v) for v in value]
    return value


def dump(value: Any) -> str:
    """Write a configuration as YAML; reading it back gives an equal configuration."""
    return yaml.dump(to_dict(value), Dumper=_Dumper, sort_keys=False, width=100)


# --- reading --------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads ``1e-4`` as a number (YAML 1.1 wants a dot) and refuses a key given
    twice.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: key {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# A float such as 1e-05 is written with a dot, so that any YAML 1.1 reader takes it for a number.
def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    special = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}
    return dumper.represent_scalar("tag:yaml.org,2002:float", special.get(text, text))


# A key a line, and short lists on theirs.
def _represent_list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    flow = not any(isinstance(item, (dict, list)) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


def _represent_dict(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=not value)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(dict, _represent_dict)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping with string keys."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    return _mapping(_parse(text, str(path)), str(path))


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from None


def _mapping(raw: Any, source: str) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise ConfigError(
            f"{source}: expected a mapping of keys to values, got {type(raw).__name__}"
        )
    return raw


def parse_override(text: str, schema: Any = Any) -> dict[str, Any]:
    """Turn ``a.b=c`` into ``{"a": {"b": c}}``, with ``c`` read as YAML; where ``schema`` wants text
    there, a number is taken as it is written, so that ``data.val_split=08`` needs no quotes.
    """
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            f"{OVERRIDE_SOURCE} {text}: expected key.path=value, for example train.steps=100"
        )
    parsed: Any = _parse(value, f"{OVERRIDE_SOURCE} {text}")
    if isinstance(parsed, (int, float)) and _type_at(schema, parts) is str:
        parsed = value.strip()
    for part in reversed(parts):
        parsed = {part: parsed}
    return typing.cast("dict[str, Any]", parsed)


# --- typing ---------------------------------------------------------------------------------------


def _build_layers(
    schema: type[T], layers: list[tuple[dict[str, Any], str]], overrides: Iterable[str]
) -> T:
    # Every layer is checked by itself first, so that an error names the file that the key stands
    # in.
    layers = layers + [
        (parse_override(text, schema), f"{OVERRIDE_SOURCE} {text}") for text in overrides
    ]
    merged: dict[str, Any] = {}
    for raw, source in layers:
        _convert(schema, raw, "", source, partial=True)
        merged = _merge(schema, merged, raw)
    files = " + ".join(source for _, source in layers)
    return typing.cast(T, _convert(schema, merged, "", files, partial=False))


def _merge(expected: Any, base: Any, change: Any) -> Any:
    expected = _without_none(expected)
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    # Options belong to the name beside them: with another name they are another component's and are
    # dropped.
    if expected is Named and "name" in change and change["name"] != base.get("name"):
        return change
    hints = typing.get_type_hints(expected) if dataclasses.is_dataclass(expected) else {}
    merged = dict(base)
    for key, value in change.items():
        merged[key] = _merge(hints.get(key, Any), base[key], value) if key in base else value
    return merged


def _convert(expected: Any, value: Any, key: str, source: str, partial: bool) -> Any:
    """Check ``value`` against the type ``expected`` and convert it (lists to tuples, mappings to
    dataclasses).
    """

    def fail(name: str | None = None) -> typing.NoReturn:
        what = "null" if value is None else f"{type(value).__name__} {value!r}"
        raise ConfigError(
            f"{source}: key {key!r}: expected {name or _type_name(expected)}, got {what}"
        )

    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [a for a in arguments if a is not type(None)]
        for choice in choices[:-1]:
            try:
                return _convert(choice, value, key, source, partial)
            except ConfigError:
                continue
        if len(choices) > 1 and not _accepts(choices[-1], value):
            fail()
        return _convert(choices[-1], value, key, source, partial)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            raise ConfigError(
                f"{source}: key {key!r}: expected one of {', '.join(map(repr, arguments))}, "
                f"got {value!r}{_nearest(str(value), [str(a) for a in arguments])}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            fail()
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            members = [arguments[0]] * len(value)
        else:
            members = list(arguments)
            if len(members) != len(value):
                fail(f"a list of {len(members)} values")
        pairs = zip(members, value, strict=True)
        return tuple(
            _convert(m, v, f"{key}[{i}]", source, partial=False) for i, (m, v) in enumerate(pairs)
        )
    if origin is dict:
        if not isinstance(value, dict):
            fail()
        return {
            k: _convert(arguments[1], v, f"{key}.{k}", source, partial) for k, v in value.items()
        }
    if expected is Named:
        return _convert_named(value, key, source, partial)
    if dataclasses.is_dataclass(expected):
        return _convert_dataclass(expected, value, key, source, partial)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not _accepts(expected, value):
        fail()
    return value


def _accepts(expected: Any, value: Any) -> bool:
    plain = typing.get_origin(expected) or expected
    if plain is tuple:
        return isinstance(value, (list, tuple))
    if plain is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if dataclasses.is_dataclass(plain):
        return isinstance(value, dict)
    return isinstance(value, plain) and not (plain is int and isinstance(value, bool))


def _convert_named(value: Any, key: str, source: str, partial: bool) -> Named:
    if isinstance(value, str):  # a bare name: no options
        return Named(value)
    if not isinstance(value, dict) or not (partial or "name" in value):
        raise ConfigError(
            f"{source}: key {key!r}: expected a name, or a mapping with 'name' and its options, "
            f"got {value!r}"
        )
    name = value.get("name", "")
    if not isinstance(name, str):
        raise ConfigError(f"{source}: key '{key}.name': expected str, got {name!r}")
    return Named(name, {k: v for k, v in value.items() if k != "name"})


def _convert_dataclass(schema: Any, value: Any, key: str, source: str, partial: bool) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(
            f"{source}: key {key!r}: expected a section with the keys "
            f"{', '.join(f.name for f in dataclasses.fields(schema))}, got {value!r}"
        )
    hints = typing.get_type_hints(schema)
    known = {f.name: f for f in dataclasses.fields(schema)}
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in known:
            raise ConfigError(
                f"{source}: unknown key '{prefix}{name}'{_nearest(str(name), list(known), prefix)}"
            )
    converted = {
        name: _convert(hints[name], item, f"{prefix}{name}", source, partial)
        for name, item in value.items()
    }
    if partial:
        return None
    for name, known_field in known.items():
        required = (
            known_field.default is dataclasses.MISSING
            and known_field.default_factory is dataclasses.MISSING
        )
        if required and name not in value:
            raise ConfigError(f"{source}: the key '{prefix}{name}' is missing and has no default")
    try:
        return schema(**converted)
    except ConfigError:
        raise
    except ValueError as error:  # from __post_init__
        raise ConfigError(f"{source}: section {key or 'top level'}: {error}") from error


def _nearest(word: str, known: list[str], prefix: str = "") -> str:
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if match:
        return f"; did you mean '{prefix}{match[0]}'?"
    return (
        f"; known here: {', '.join(sorted(known))}" if known else "; there is nothing to set here"
    )


def _without_none(expected: Any) -> Any:
    if typing.get_origin(expected) in (Union, types.UnionType):
        rest = [a for a in typing.get_args(expected) if a is not type(None)]
        return rest[0] if len(rest) == 1 else expected
    return expected


def _type_at(schema: Any, parts: list[str]) -> Any:
    """The type of a key, None aside; Any where the schema does not know it."""
    for part in parts:
        if not dataclasses.is_dataclass(schema):
            return Any
        schema = _without_none(typing.get_type_hints(schema).get(part, Any))
    return schema


def _type_name(expected: Any) -> str:
    if typing.get_origin(expected) is tuple:
        return f"a list ({str(expected).removeprefix('tuple')})"
    if isinstance(expected, type) and typing.get_origin(expected) is None:
        return expected.__name__
    return str(expected).replace("typing.", "").replace("NoneType", "None")
