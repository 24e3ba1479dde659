"""Code blocks of markdown pages, and how each kind of them is run."""

from __future__ import annotations

import os
import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pointseg.cli import main as pointseg_command

KINDS = {
    "bash": "run line by line",
    "bash browser": "the same, where there is a browser",
    "python": "run in a namespace of its own",
    "yaml": "written to the file that its first line names",
    "console": "not run: installing, windows, the whole project",
    "text": "not run: layouts, results",
}
_FENCE = re.compile(r"^( *)```(.*)$")
_FILE_COMMENT = re.compile(r"# (\S+\.ya?ml)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: ``where`` is file and line, for messages."""

    kind: str
    text: str
    where: str


def read_blocks(page: Path, root: Path) -> list[Block]:
    """The fenced blocks of a page, in order; ValueError for one that is never closed."""
    blocks: list[Block] = []
    kind: str | None = None
    lines: list[str] = []
    start = 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence and kind is None:
            kind, lines, start = fence.group(2).strip(), [], number
        elif fence and kind is not None and not fence.group(2).strip():
            blocks.append(Block(kind, "\n".join(lines), f"{page.relative_to(root)}:{start}"))
            kind = None
        elif kind is not None:
            lines.append(line)
    if kind is not None:
        raise ValueError(f"{page.relative_to(root)}:{start}: the block is not closed")
    return blocks


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command; backslashes join lines, ``#`` begins a comment."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def run_block(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a block in the working directory; fails with its place on the first thing that fails."""
    if block.kind.startswith("bash"):
        for words in commands(block.text):
            code = _run_command(words, monkeypatch)
            assert code == 0, f"{block.where}: exit code {code} of {shlex.join(words)}"
    elif block.kind == "python":
        code_object = compile(block.text, block.where, "exec", dont_inherit=True)
        exec(code_object, {"__name__": "__main__"})
    elif block.kind == "yaml":
        named = _FILE_COMMENT.match(block.text.partition("\n")[0])
        assert named, f"{block.where}: the first line must name a file: # name.yaml"
        Path(named.group(1)).write_text(block.text, encoding="utf-8")


def _run_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run ``pointseg ...``, ``python tools/x.py ...`` or ``export A=B`` in this process."""
    if words[0] == "export":
        for assignment in words[1:]:
            name, _, value = assignment.partition("=")
            monkeypatch.setenv(name, value)
        return 0
    try:
        if words[0] == "pointseg":
            return pointseg_command(words[1:])
        if words[0] == "python" and words[1:] and words[1].startswith("tools/"):
            monkeypatch.setattr("sys.argv", words[1:])
            monkeypatch.syspath_prepend(os.path.dirname(words[1]))
            runpy.run_path(words[1], run_name="__main__")
            return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    raise ValueError(f"no command of this project: {shlex.join(words)}; fence it as console")
