"""Configuration files: what is read, and what every mistake is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from pointseg import config
from pointseg.config import ConfigError, Named


@dataclass(frozen=True)
class Inner:
    learning_rate: float = 0.1
    mode: Literal["fast", "exact"] = "fast"
    sizes: tuple[int, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    limit: int | None = None
    factor: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate < 0:
            raise ValueError("learning_rate must not be negative")


@dataclass(frozen=True)
class Outer:
    title: str
    inner: Inner = field(default_factory=Inner)
    model: Named = field(default_factory=lambda: Named("none"))
    steps: tuple[Named, ...] = ()
    table: dict[str, int] = field(default_factory=dict)
    flag: bool = False
    anything: Any = None


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def load(tmp_path: Path, text: str, *overrides: str) -> Outer:
    return config.load(Outer, write(tmp_path / "given.yaml", text), overrides)


def test_every_kind_of_value(tmp_path):
    got = load(
        tmp_path,
        """
        title: room
        inner: {learning_rate: 1e-3, mode: exact, sizes: [1, 2], pair: [0, 2.5], limit: 7}
        model: {name: minkunet, depths: [1, 2]}
        steps: [{name: rotate, degrees: 180}, flip]
        table: {a: 1}
        flag: true
        """,
    )
    assert got == Outer(
        title="room",
        inner=Inner(0.001, "exact", (1, 2), (0.0, 2.5), 7),
        model=Named("minkunet", {"depths": [1, 2]}),
        steps=(Named("rotate", {"degrees": 180}), Named("flip")),
        table={"a": 1},
        flag=True,
    )
    assert isinstance(got.inner.pair[0], float)


def test_dump_and_read_again(tmp_path):
    first = load(
        tmp_path, "{title: x, inner: {learning_rate: 1e-5, factor: 3}, steps: [{name: a, b: 1e-7}]}"
    )
    text = config.dump(first)
    assert load(tmp_path, text) == first
    assert yaml.safe_load(text)["inner"]["learning_rate"] == 1e-5  # for readers other than ours too
    assert config.from_dict(Outer, config.to_dict(first), "memory") == first


def test_base_is_merged_below(tmp_path):
    write(
        tmp_path / "parent.yaml",
        "{title: parent, inner: {learning_rate: 0.5, sizes: [1, 2]}, model: {name: a, x: 1, y: 2}}",
    )
    got = load(tmp_path, "{base: parent.yaml, inner: {sizes: [9]}, model: {y: 3}}", "inner.limit=4")
    assert got.title == "parent"
    assert got.inner == Inner(learning_rate=0.5, sizes=(9,), limit=4)
    assert got.model == Named("a", {"x": 1, "y": 3})


def test_another_name_drops_the_options_of_the_first(tmp_path):
    write(tmp_path / "parent.yaml", "{title: parent, model: {name: a, x: 1}}")
    in_a_file = load(tmp_path, "{base: parent.yaml, model: {name: b, z: 2}}")
    assert in_a_file.model == Named("b", {"z": 2})
    overridden = load(tmp_path, "base: parent.yaml", "model.name=c", "model.k=1")
    assert overridden.model == Named("c", {"k": 1})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("inner.learning_rate=1e-2", Inner(learning_rate=0.01)),
        ("inner.sizes=[4, 5]", Inner(sizes=(4, 5))),
        ("inner.limit=null", Inner()),
        ("inner.mode=exact", Inner(mode="exact")),
        ("inner={limit: 3}", Inner(limit=3)),
    ],
)
def test_overrides_are_yaml(tmp_path, override, expected):
    assert load(tmp_path, "title: x", override).inner == expected


@pytest.mark.parametrize("text", ["08", "1e3", "true", "3.50", "plain"])
def test_overrides_of_text_are_taken_as_written(tmp_path, text):
    assert load(tmp_path, "title: x", f"title={text}").title == text


MISTAKES: list[tuple[str, list[str], list[str]]] = [
    (
        "{title: x, inner: {learning_rat: 1}}",
        [],
        ["given.yaml", "unknown key 'inner.learning_rat'", "did you mean 'inner.learning_rate'"],
    ),
    ("{title: x, colour: 1}", [], ["given.yaml", "unknown key 'colour'", "known here"]),
    (
        "title: x",
        ["inner.limits=3"],
        ["--set inner.limits=3", "did you mean 'inner.limit'"],
    ),
    (
        "{title: x, inner: {learning_rate: high}}",
        [],
        ["given.yaml", "'inner.learning_rate'", "expected float", "got str 'high'"],
    ),
    ("{title: x, inner: {limit: 1.5}}", [], ["'inner.limit'", "expected int", "float 1.5"]),
    ("{title: x, inner: {limit: true}}", [], ["'inner.limit'", "expected int", "bool True"]),
    ("{title: x, flag: 1}", [], ["'flag'", "expected bool", "got int 1"]),
    ("{title: 3}", [], ["'title'", "expected str", "got int 3"]),
    ("{title: null}", [], ["'title'", "expected str", "got null"]),
    (
        "{title: x, inner: {mode: fastt}}",
        [],
        ["'inner.mode'", "expected one of 'fast', 'exact'", "did you mean 'fast'"],
    ),
    ("{title: x, inner: {sizes: [1, a]}}", [], ["'inner.sizes[1]'", "expected int", "str 'a'"]),
    ("{title: x, inner: {sizes: 3}}", [], ["'inner.sizes'", "expected a list", "got int 3"]),
    ("{title: x, inner: {pair: [1, 2, 3]}}", [], ["'inner.pair'", "a list of 2 values"]),
    ("{title: x, inner: 3}", [], ["'inner'", "expected a section", "learning_rate"]),
    ("{title: x, table: {a: b}}", [], ["'table.a'", "expected int"]),
    ("{title: x, steps: [{degrees: 3}]}", [], ["'steps[0]'", "'name'"]),
    ("{title: x, model: {name: 3}}", [], ["'model.name'", "expected str"]),
    ("{flag: true}", [], ["given.yaml", "'title'", "missing"]),
    (
        "{title: x, inner: {learning_rate: -1}}",
        [],
        ["given.yaml", "section inner", "must not be negative"],
    ),
    ("{title: x, title: y}", [], ["given.yaml", "'title'", "twice"]),
    ("{title: [}", [], ["given.yaml", "not valid YAML"]),
    ("- a", [], ["given.yaml", "expected a mapping", "list"]),
    ("title: x", ["flag"], ["--set flag", "key.path=value"]),
    ("title: x", [".flag=1"], ["key.path=value"]),
    ("{title: x, base: missing.yaml}", [], ["missing.yaml", "no such configuration file"]),
    ("{title: x, base: 3}", [], ["'base'", "file name"]),
]


@pytest.mark.parametrize(("text", "overrides", "expected"), MISTAKES)
def test_errors_name_key_file_and_remedy(tmp_path, text, overrides, expected):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    for part in expected:
        assert part in str(caught.value)


def test_a_mistake_in_the_base_names_the_base(tmp_path):
    write(tmp_path / "parent.yaml", "{title: x, flog: true}")
    with pytest.raises(ConfigError, match=r"parent\.yaml: unknown key 'flog'; did you mean 'flag'"):
        load(tmp_path, "base: parent.yaml")


def test_only_one_level_of_base(tmp_path):
    write(tmp_path / "grandparent.yaml", "title: x")
    write(tmp_path / "parent.yaml", "base: grandparent.yaml")
    with pytest.raises(ConfigError, match=r"parent\.yaml.*only one level"):
        load(tmp_path, "base: parent.yaml")
