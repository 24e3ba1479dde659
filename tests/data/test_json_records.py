from __future__ import annotations

import json
from pathlib import Path

import pytest

from pointseg.data import json_records
from pointseg.data.json_records import read_records
from tests.helpers.properties import given, settings, st

ROWS = [{"token": f"{i:04x}", "name": "ä] , {[" * (i % 4), "i": i} for i in range(60)]


def rows_of(path: Path, **fields: type) -> list[dict]:
    return list(read_records(path, fields, "get it again"))


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("longest", [200, 10_000])
@pytest.mark.parametrize("chunk", [300, 1000, 1 << 20])
def test_any_chunk_gives_all_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None, longest: int, chunk: int
) -> None:
    monkeypatch.setattr(json_records, "_CHUNK", chunk)
    monkeypatch.setattr(json_records, "_LONGEST", longest)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(ROWS, indent=indent, ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert rows_of(path, token=str, i=int) == ROWS


@pytest.mark.parametrize("text", ["[]", " [ ] \n", "\ufeff[]\r\n"])
def test_empty_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text, encoding="utf-8")
    assert rows_of(tmp_path / "t.json", token=str) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "record 0: not valid json: expected a list"),
        (b'{"token": "a"}', "record 0: not valid json: expected a list"),
        (b"\xff\xfe[", "record 0: .*codec"),
        (b"[", "record 0: not valid json"),
        (b'[{"token": "a"}', "record 0: not valid json .*cut off"),
        (b'[{"token": "a"},', "record 1: not valid json"),
        (b'[{"token": "a"},]', "record 1: not valid json"),
        (b'[{"token": "a"} {"token": "b"}]', "record 0: not valid json .*comma"),
        (b'[{"token": "a"}, {"token": "b"', "record 1: not valid json"),
        (b'[{"token": "a"}] []', "record 1: not valid json .text after"),
        (b'[{"token": "a"}, 7]', "record 1: expected an object, got 7"),
        (b'[{"token": "a"}, {"name": "b"}]', "record 1: no field 'token'"),
        (b'[{"token": true}]', "record 0: 'token' must be str, got True"),
    ],
)
def test_broken_table_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"t\.json: {message}.*; get it again"):
        rows_of(path, token=str)


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"t\.json: no such file; get it again"):
        rows_of(tmp_path / "t.json")


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_damaged_bytes_are_an_error_or_a_table(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.json"
    whole = json.dumps(ROWS[:8]).encode()
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        rows = rows_of(path, token=str)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert rows == json.loads(path.read_bytes())
