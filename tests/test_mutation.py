"""The mutation check: what it plants is noticed, or it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import mutation
from tests.mutation import MUTATIONS, Mutation, MutationError

CAUGHT = MUTATIONS[0]
HARMLESS = Mutation(
    "turned round", CAUGHT.file, CAUGHT.text, "load_pack<4>(coords + i * 4)", CAUGHT.tests
)
# Operators without a CUDA kernel run on the CPU's: less to compile.
NEEDED = ("voxelize", "executor_check", "algorithms", "key_runs", "read_back")


def test_error_is_caught_and_what_is_none_survives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = (mutation.ROOT / "csrc" / CAUGHT.file).read_bytes()
    copy = mutation.prepare(tmp_path)
    for source in copy.glob("*/cuda/*.c*"):
        if source.stem not in NEEDED:
            source.unlink()
    assert mutation.survivors((CAUGHT, HARMLESS), copy) == [HARMLESS]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["caught", "MISSED"]
    # Neither the tree nor the copy keeps it.
    assert (mutation.ROOT / "csrc" / CAUGHT.file).read_bytes() == sound
    assert (tmp_path / "csrc" / CAUGHT.file).read_bytes() == sound


@pytest.mark.parametrize("planted", MUTATIONS, ids=lambda m: m.name)
def test_every_error_has_its_place(planted: Mutation) -> None:
    source = (mutation.ROOT / "csrc" / planted.file).read_text()
    assert source.count(planted.text) == 1
    assert planted.replacement != planted.text
    assert (mutation.ROOT / planted.tests.split()[0]).is_file()


def test_names_of_errors_are_their_own() -> None:
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS)


def test_text_that_is_gone_and_tests_that_are_not_there_end_the_check(tmp_path: Path) -> None:
    (tmp_path / "unit.cu").write_text("return i;\n")
    gone = Mutation("gone", "unit.cu", "return j;", "return 0;", "")
    with (
        pytest.raises(MutationError, match=r"unit\.cu holds 0 times: return j;"),
        mutation.planted(gone, tmp_path),
    ):
        pass
    with pytest.raises(MutationError, match="no_such_test"):
        mutation.tests_fail("tests/no_such_test.py", tmp_path)
