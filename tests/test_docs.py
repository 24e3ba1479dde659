"""The pages of the documentation: every command and example runs, every link leads somewhere.

The id of a test says how many blocks of which kind it runs.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.blocks import KINDS, Block, read_blocks, run_block

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "csrc" / "README.md"])
NOTES = sorted((ROOT / "pointseg").rglob("*.md"))  # beside the code, for its readers
BLOCKS = {page: read_blocks(page, ROOT) for page in PAGES}
RUN_KINDS = ("bash", "python", "yaml")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runs(block: Block) -> bool:
    return block.kind in RUN_KINDS


def counts(page: Path) -> str:
    """Such as ``docs/data.md: 3 bash, 1 python``."""
    kinds = Counter(block.kind for block in BLOCKS[page] if runs(block))
    return f"{name_of(page)}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))


PAGES_THAT_RUN = [page for page in PAGES if any(map(runs, BLOCKS[page]))]
BROWSER_BLOCKS = [b for page in PAGES for b in BLOCKS[page] if b.kind == "bash browser"]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, own clouds and trained runs, made once."""
    pytest.importorskip("open3d", reason="open3d is not installed: no ray casting")
    from tests.docs.workplace import make_workplace

    return make_workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture
def in_workplace(
    workplace: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work in a folder of the test's own; it has trained runs unless the page makes them."""
    from tests.docs.workplace import enter

    page: Path | None = request.node.callspec.params.get("page")
    trains = page is not None and "--output runs/" in page.read_text(encoding="utf-8")
    enter(workplace, tmp_path, without_runs=trains)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POINTSEG_DATA", raising=False)  # pages that need it say so


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=counts)
@pytest.mark.usefixtures("in_workplace")
def test_commands_and_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in filter(runs, BLOCKS[page]):
        run_block(block, monkeypatch)


@pytest.mark.browser
@pytest.mark.parametrize("block", BROWSER_BLOCKS, ids=lambda block: block.where)
@pytest.mark.usefixtures("in_workplace")
def test_commands_with_a_browser_run(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium on this machine")
    run_block(block, monkeypatch)


def test_enough_is_run() -> None:
    """A fence that is spelled wrong must not take the commands out of the test."""
    total = Counter(block.kind for page in PAGES for block in BLOCKS[page])
    assert total["bash"] >= 15
    assert total["python"] >= 8
    assert total["yaml"] >= 2
    assert len(BROWSER_BLOCKS) >= 1


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_kinds_of_blocks_are_known(page: Path) -> None:
    unknown = [
        f"{block.where}: {block.kind!r}" for block in BLOCKS[page] if block.kind not in KINDS
    ]
    assert not unknown, f"use one of {', '.join(KINDS)}"


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def headings(page: Path) -> set[str]:
    """Anchors of a page as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *NOTES], ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in headings(linked)):
            broken.append(target)
    assert broken == []


def test_pages_are_linked_from_the_front_page() -> None:
    front = prose(ROOT / "README.md")
    missing = [name_of(page) for page in PAGES if f"({name_of(page)})" not in front]
    assert missing == ["README.md"]


def test_the_picture_is_small_enough() -> None:
    picture = ROOT / "docs" / "images" / "scene.png"
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, _ = struct.unpack(">II", head[16:24])
    assert width >= 1000
    assert picture.stat().st_size < 300_000


SUB_COMMANDS = re.compile(r"^pointseg ([a-z][a-z-]*)|^python tools/([a-z_]+)\.py", re.M)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_named_exist(page: Path) -> None:
    from pointseg.cli import commands

    inline = re.findall(r"`([^`\n]+)`", prose(page))
    code = "\n".join([*(block.text for block in BLOCKS[page]), *inline])
    named = {"".join(match).replace("_", "-") for match in SUB_COMMANDS.findall(code)}
    assert named <= set(commands())


def test_every_command_is_documented() -> None:
    from pointseg.cli import commands

    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [
        name
        for name in commands()
        if not re.search(
            rf"pointseg {name}\b|tools/{name.replace('-', '_')}\.py|make {name}\b", text
        )
    ]
    assert missing == []


def test_every_registered_name_is_documented() -> None:
    from pointseg.data import DATASETS, FEATURES, TRANSFORMS
    from pointseg.models import MODELS

    data, models = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("data", "models"))
    assert [name for name in (*DATASETS, *FEATURES, *TRANSFORMS) if name not in data] == []
    assert [name for name in MODELS if name not in models] == []


def test_every_operator_is_documented() -> None:
    from pointseg import ops

    page = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    values = {"Coarser", "RowLists", "Voxelization"}
    internal = {*values, "swap_kernel_map", "voxel_keys"}
    assert [name for name in ops.__all__ if name not in internal and f"`{name}(" not in page] == []
