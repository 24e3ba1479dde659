"""Why a file's name is none that a submission has: the nearest right name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def wrapping_folder(names: Sequence[str], expected: Iterable[str]) -> str:
    """The folder ``a/`` or ``a/b/`` that a whole submission lies in; empty where it is in none."""
    expected = set(expected)
    if any(name in expected for name in names):
        return ""
    for name in names:
        for inner in _shortened(name):
            if inner in expected:
                wrapper = name.removesuffix(inner)
                return wrapper if all(other.startswith(wrapper) for other in names) else ""
    return ""


class NameAdvice:
    """Explains names that are not among ``expected``."""

    def __init__(self, expected: Sequence[str]) -> None:
        self._example = expected[0]
        self._by_form = {_plain(name): name for name in expected}
        # What a name ends in, where it ends in nothing else: for files at too shallow a place.
        self._by_end: dict[str, str | None] = {}
        for name in expected:
            for end in _shortened(_plain(name)):
                self._by_end[end] = None if end in self._by_end else name

    def why_unexpected(self, name: str) -> str:
        if name.lower().endswith(".zip"):
            return "unexpected: a zip within; hand in the files themselves"
        plain = _plain(name)
        if plain in self._by_form:
            return f"unexpected: the name must be exactly {self._by_form[plain]}"
        inner = next((end for end in _shortened(plain) if end in self._by_form), None)
        wanted = self._by_end.get(plain) if inner is None else self._by_form[inner]
        if wanted is not None:
            return f"lies in the wrong folder; it must be {wanted}"
        if name.rpartition(".")[2] != self._example.rpartition(".")[2]:
            return f"unexpected: files are named like {self._example}"
        return f"unexpected: no such scene in the split (files are named like {self._example})"


def _shortened(name: str) -> Iterator[str]:
    """``b/c`` and ``c`` of ``a/b/c``."""
    while "/" in name:
        name = name.partition("/")[2]
        yield name


def _plain(name: str) -> str:
    return name.replace("\\", "/").strip().lower()
