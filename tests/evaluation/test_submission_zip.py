"""Zips that are no submission: every fault is named, and no bytes make the check stumble."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pointseg.evaluation import read_submission

from ..helpers.properties import given, st
from .submissions import CASES, Case

KITTI = CASES["semantickitti"]
Entry = tuple[zipfile.ZipInfo, bytes]


def rewritten(source: Path, path: Path, change: Callable[[list[Entry]], list[Entry]]) -> Path:
    """A copy of a zip whose entries went through ``change``."""
    with zipfile.ZipFile(source) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names that come twice
        for entry, data in change(entries):
            archive.writestr(entry, data)
    return path


def renamed(name: Callable[[str], str]) -> Callable[[list[Entry]], list[Entry]]:
    def change(entries: list[Entry]) -> list[Entry]:
        for entry, _ in entries:
            entry.filename = name(entry.filename)
        return entries

    return change


def added(*names: str) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [*entries, *((zipfile.ZipInfo(name), b"x") for name in names)]


@pytest.fixture(scope="module", params=list(CASES))
def good(request, tmp_path_factory) -> tuple[Case, Path]:
    case = CASES[request.param]
    return case, case.write(tmp_path_factory.mktemp("good") / "good.zip")


@pytest.fixture(scope="module")
def kitti(tmp_path_factory) -> Path:
    return KITTI.write(tmp_path_factory.mktemp("kitti") / "good.zip")


def test_a_zip_of_a_folder_is_one_problem(good, tmp_path):
    case, source = good
    path = rewritten(source, tmp_path / "s.zip", renamed(lambda name: f"my/preds/{name}"))
    result = case.check(path)
    assert result.problems == (
        "everything lies in the folder my/preds/; zip what is in the folder, not the folder itself",
    )
    assert result.num_scenes == len(case.scenes)  # the labels themselves were looked at


def test_missing_entries_of_folders_are_a_problem_where_the_server_looks_for_them(good, tmp_path):
    case, source = good
    path = rewritten(
        source, tmp_path / "s.zip", lambda entries: [e for e in entries if not e[0].is_dir()]
    )
    problems = case.check(path).problems
    if case is not KITTI:
        assert problems == ()
        return
    (problem,) = problems
    assert problem.startswith(
        "no entries for the folders sequences/, sequences/11/, sequences/11/predictions/, "
        "sequences/12/, sequences/12/predictions/: SemanticKITTI's server"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (added("__MACOSX/._x"), ["__MACOSX/._x: left by the operating system; remove it (zip -d)"]),
        (added("sequences/.DS_Store"), ["sequences/.DS_Store: left by the operating system"]),
        (added("../evil"), ["../evil: its name leads out of the folder", "../evil: unexpected"]),
        (added("/etc/x"), ["/etc/x: its name leads out of the folder", "/etc/x: unexpected"]),
        (added("C:/x.label"), ["C:/x.label: its name leads out", "C:/x.label: unexpected"]),
        (added("\x1b[2J"), ["'\\x1b[2J': unexpected: files are named like"]),
        (added("again.zip"), ["again.zip: unexpected: a zip within"]),
        (added("description.txt"), []),
        (added("notes.md"), ["notes.md: unexpected: files are named like sequences/11/"]),
        (added("sequences/13/predictions/000000.label"),
         ["sequences/13/predictions/000000.label: unexpected: no such scene in the split"]),
        (added("sequences/11/predictions/000001.label"),
         ["sequences/11/predictions/000001.label: 0 labels",
          "sequences/11/predictions/000001.label: 1 bytes are no whole number of labels",
          "sequences/11/predictions/000001.label: comes 2 times"]),
        (renamed(lambda name: name.replace("000001.label", "000001.LABEL")),
         ["000001.LABEL: unexpected: the name must be exactly sequences/11/predictions/000001.l",
          "sequences/11/predictions/000001.label: missing"]),
        (renamed(lambda name: name.replace("predictions/000001", "000001")),
         ["sequences/11/000001.label: unexpected", "predictions/000001.label: missing"]),
        (renamed(lambda name: name.replace("sequences/12/p", "12/p")),
         ["12/predictions/000000.label: lies in the wrong folder; it must be sequences/12/pred",
          "sequences/12/predictions/000000.label: missing",
          "no entries for the folders sequences/12/predictions/: "]),
        (renamed(lambda name: name.replace("12/predictions/0", "12\\predictions\\0")),
         ["12\\predictions\\000000.label: its name has backslashes",
          "12\\predictions\\000000.label: unexpected: the name must be exactly sequences/12/",
          "sequences/12/predictions/000000.label: missing"]),
        (lambda entries: [], ["there is no file in it", "11/predictions/000000.label: missing",
         "11/predictions/000001.label: missing", "12/predictions/000000.label: missing",
         "no entries for the folders sequences/"]),
    ],
)  # fmt: skip
def test_every_fault_of_a_zip_is_named(kitti, tmp_path, change, expected):
    problems = KITTI.check(rewritten(kitti, tmp_path / "s.zip", change)).problems
    for text in expected:
        assert any(text in problem for problem in problems), (text, problems)
    assert len(problems) == len(expected), problems


def test_entries_that_servers_cannot_unpack_are_named(kitti, tmp_path):
    def other_method(entries):
        entries[-1][0].compress_type = zipfile.ZIP_BZIP2
        return entries

    def link(entries):
        entries[-1][0].external_attr = 0o120777 << 16
        return entries

    path = rewritten(kitti, tmp_path / "a.zip", other_method)
    assert "is compressed by method 12" in KITTI.check(path).problems[0]
    path = rewritten(kitti, tmp_path / "b.zip", link)
    assert "is a symbolic link" in KITTI.check(path).problems[0]
    (tmp_path / "c.bin").write_bytes(kitti.read_bytes())
    assert KITTI.check(tmp_path / "c.bin").problems == (
        "c.bin: a zip whose name does not end in .zip; rename it",
    )
    # general purpose bit 0 of an entry in the table of contents, 8 bytes behind its signature
    data = bytearray(kitti.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "d.zip").write_bytes(data)
    first, second = KITTI.check(tmp_path / "d.zip").problems
    assert "is encrypted; write the zip without a password" in first
    assert "cannot be read" in second


def test_an_entry_without_a_name_is_a_problem(kitti, tmp_path):
    data = bytearray(kitti.read_bytes())
    last = data.rindex(b"PK\x01\x02")  # its name's length, 28 bytes on, becomes its comment's
    data[last + 32 : last + 34], data[last + 28 : last + 30] = data[last + 28 : last + 30], b"\0\0"
    (tmp_path / "s.zip").write_bytes(data)
    problems = KITTI.check(tmp_path / "s.zip").problems
    assert problems[0] == "'': an entry without a name"
    assert any("predictions/000000.label: missing" in problem for problem in problems)


def test_large_files_are_not_read(kitti, tmp_path):
    def swollen(entries):
        return [*entries[:-1], (entries[-1][0], bytes(10_000))]

    (problem,) = KITTI.check(rewritten(kitti, tmp_path / "s.zip", swollen)).problems
    assert problem.endswith("000000.label: 10000 bytes are far too many; it was not read")


def test_zip64_is_noted(kitti, tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(kitti) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            if not entry.is_dir():
                entry.extra = b"\xfe\xca\x00\x00\x01\x00\x00\x00"  # an unknown field, then zip64
            new.writestr(entry, old.read(entry))
    result = KITTI.check(path)
    assert result.ok and "zip64" in result.notes[0]


def test_what_lies_in_a_folder_is_noted(tmp_path):
    path = KITTI.write(tmp_path / "s")
    (path / ".DS_Store").write_bytes(b"")
    assert KITTI.check(path).notes == (".DS_Store: left by the operating system: not for the zip",)


# -- broken bytes -----------------------------------------------------------------------------


def outcome(case: Case, path: Path, data: bytes) -> str:
    """What the check makes of ``data``: "right", "listed" or "refused"; it must not stumble.

    Where it finds nothing wrong, the labels are those that were written.
    """
    path.write_bytes(data)
    try:
        if not case.check(path).ok:
            return "listed"
    except ValueError as error:
        assert str(path) in str(error)
        return "refused"
    for scene_id, ids in read_submission(path, case.scenes, case.format, case.split):
        np.testing.assert_array_equal(case.predictions()[scene_id], case.label_map.from_raw(ids))
    return "right"


def test_a_zip_that_is_cut_off_anywhere_is_refused(good, tmp_path):
    case, source = good
    data = source.read_bytes()
    assert outcome(case, tmp_path / "s.zip", data) == "right"
    found = {outcome(case, tmp_path / "s.zip", data[:end]) for end in range(0, len(data), 7)}
    assert found == {"refused"}


def test_no_flipped_byte_makes_the_check_stumble(good, tmp_path):
    case, source = good
    path, data = tmp_path / "s.zip", source.read_bytes()
    found = set()
    for place in range(0, len(data), 2):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        found.add(outcome(case, path, bytes(changed)))
    # Dates, versions and attributes of entries mean nothing: some flips leave a zip right.
    assert found == {"right", "listed", "refused"}


@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_damage_makes_the_check_stumble(kitti, changes):
    content = bytearray(kitti.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    outcome(KITTI, kitti.with_name("damaged.zip"), bytes(content))
