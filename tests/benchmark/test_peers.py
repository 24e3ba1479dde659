"""Other engines through the real protocol of files and processes, played by one of our own."""

from __future__ import annotations

import pytest
import torch

from pointseg.benchmark import Options, Row
from pointseg.benchmark.inputs import Scene, room_points
from pointseg.benchmark.peers import PEERS, Peer, PeerFailure, find_peers, process
from pointseg.benchmark.peers.process import Job
from pointseg.benchmark.suites.peers import peer_rows

OPERATORS = ("kernel_map", "sparse_conv", "depthwise_conv")
FAKE = Peer("fake", "tests.benchmark.fake_engine", OPERATORS, max_threads=1)
SCENE = Scene("tiny", 0.6, lambda: room_points()[::40])


def rows(monkeypatch: pytest.MonkeyPatch, behaviour: str, only: str) -> list[Row]:
    monkeypatch.setenv("FAKE_ENGINE", behaviour)
    options = Options(threads=2, quick=True, only=only, peers=(FAKE,))
    return list(peer_rows(options, "tiny", SCENE.grid()))


def test_right_results_give_ratios_with_as_many_threads_as_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = rows(monkeypatch, "right", "fwdbwd*")
    assert [row.case for row in found] == [
        "conv_fwdbwd_C32_tiny",
        "depthwise_conv_fwdbwd_C64_tiny",
    ]
    found += rows(monkeypatch, "right", "kernel_map")
    for row in found:
        assert (row.note, row.other, row.threads, row.unit) == ("", "fake", 1, "ms")
        assert row.other_value is not None and row.other_value > 0
        assert row.ratio == row.other_value / row.ours


@pytest.mark.parametrize(
    ("behaviour", "only", "note"),
    [
        ("wrong", "conv_fwd_C32", "conv_fwd_C32_tiny, out: results differ by 0.0"),
        ("wrong", "kernel_map", "kernel_map_k3_tiny: other neighbours"),
        ("crash", "conv_fwd_C32", "RuntimeError: fake engine: out of luck"),
        ("killed", "kernel_map", "killed by SIGKILL"),
    ],
)
def test_failures_are_lines_of_the_report(
    monkeypatch: pytest.MonkeyPatch, behaviour: str, only: str, note: str
) -> None:
    (row, *_) = rows(monkeypatch, behaviour, only)
    assert row.note.startswith(note)
    assert row.ours > 0
    assert row.other_value is None and row.ratio is None


def test_an_engine_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 0.01)
    with pytest.raises(PeerFailure, match="no result within"):
        FAKE.version()


def test_engines_that_cannot_be_imported_are_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_ENGINE", "absent")
    found, said = find_peers([FAKE])
    assert found == ()
    assert said == {"fake": "not measured: ImportError: libfake.so: cannot open shared object file"}
    monkeypatch.setenv("FAKE_ENGINE", "right")
    assert find_peers([FAKE]) == ((FAKE,), {"fake": "7.5"})


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_engines_that_are_there_compute_what_we_do(peer: Peer) -> None:
    """Where one is not installed, it is to say so by name."""
    found, said = find_peers([peer])
    if not found:
        assert "No module named" in said[peer.name]
        return
    options = Options(threads=1, quick=True, peers=found)
    measured = list(peer_rows(options, "tiny", SCENE.grid()))
    assert len(measured) == (5 if "depthwise_conv" in peer.operators else 3)
    assert [row.note for row in measured] == [""] * len(measured)


def test_jobs_of_unknown_operators_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_ENGINE", "right")
    problem = {"coords": SCENE.grid().coords, "weight": torch.zeros(27, 2)}
    with pytest.raises(PeerFailure, match="AttributeError.*'pool'"):
        FAKE.measure(Job("pool"), problem, 1)
