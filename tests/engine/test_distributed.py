"""Several ranks train as one with the joined batch, and meet the faults of one together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pointseg.engine.random_state import set_random_state
from pointseg.engine.skipped import MAX_FILES, load_skipped_step, save_skipped_step
from tests.engine import ranks
from tests.engine.runs import assert_same_state, metrics
from tests.helpers.ranks import on_ranks


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All cases on two ranks: by rank, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    return on_ranks(ranks.training, 2, folder), folder


@pytest.fixture(scope="module", params=[2, 3])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The cases without a fault, on two and on three ranks."""
    if request.param == 2:
        return request.getfixturevalue("trained")
    folder = tmp_path_factory.mktemp("three")
    return on_ranks(ranks.sound_training, 3, folder), folder


@pytest.mark.parametrize(
    ("case", "options"),
    [("plain", {"batch_size": 2}), ("accumulate", {"batch_size": 1, "accumulate": 2})],
)
def test_it_is_one_rank_with_the_joined_batch(sound, case, options, tmp_path):
    by_rank, folder = sound
    joined = {**options, "batch_size": options["batch_size"] * len(by_rank)}
    expected = ranks.outcome(ranks.make_trainer(tmp_path / "one", steps=3, **joined))
    for found in by_rank:
        found = found[case]
        assert found["error"] == ""
        assert (found["step"], found["position"]) == (expected["step"], expected["position"])
        for name, value in expected["model"].items():
            torch.testing.assert_close(found["model"][name], value, rtol=1e-9, atol=1e-10)
        for name, grad in expected["grads"].items():
            if grad is not None:
                torch.testing.assert_close(found["grads"][name], grad, rtol=1e-8, atol=1e-10)
        assert found["grads"]["net.stem.conv.weight"].abs().max() > 1e-4
        assert found["scene_ids"] == expected["scene_ids"]
        assert (found["confusion"] == expected["confusion"]).all()
    for one, many in zip(metrics(tmp_path / "one"), metrics(folder / case), strict=True):
        keys = ("loss", "loss_cross_entropy", "grad_norm", "epoch", "mean_iou")
        for key in filter(one.__contains__, keys):
            assert many[key] == pytest.approx(one[key], rel=1e-9)


def test_ranks_have_the_same_bits(trained):
    by_rank, _ = trained
    for case in ("plain", "unused", "accumulate", "local_norms", "forward", "backward", "nan"):
        for found in by_rank:
            assert found[case]["error"] == ""
            assert_same_state(found[case]["model"], by_rank[0][case]["model"])


def test_parameters_that_not_all_ranks_use(sound):
    by_rank, _ = sound
    for found in by_rank:
        unused = found["unused"]
        assert unused["grads"]["of_nobody"] is None
        # no gradient, so no weight decay either: as with one rank
        assert torch.equal(unused["model"]["of_nobody"], torch.ones(3).double())
        assert unused["grads"]["of_rank_0"].abs().min() > 0


@pytest.mark.parametrize("case", ["forward", "backward"])
def test_a_rank_out_of_memory_costs_all_one_step(trained, case):
    by_rank, folder = trained
    for found in by_rank:
        done, plain = found[case], found["plain"]
        scenes_a_step = plain["position"] // 3
        assert (done["step"], done["skipped"]) == (3, 1)
        assert done["position"] == 4 * scenes_a_step
        # statistics count the steps that were done, on all ranks
        counts = [v for k, v in done["model"].items() if k.endswith("num_batches_tracked")]
        assert counts and all(int(count) == 3 for count in counts)
    assert [path.name for path in (folder / case / "skipped").iterdir()] == ["step_000002_rank1.pt"]


def test_too_many_in_a_row_end_all_ranks(trained):
    by_rank, folder = trained
    errors = [found["gives_up"]["error"] for found in by_rank]
    assert errors[1] == "OutOfMemoryError: tried to allocate 80 GiB\nadvice"
    for rank in {*range(len(by_rank))} - {1}:
        assert errors[rank].startswith("RankFailed: rank 1 failed: OutOfMemoryError: tried")
    assert {(found["gives_up"]["step"], found["gives_up"]["skipped"]) for found in by_rank} == {
        (1, 3)
    }
    assert len(list((folder / "gives_up" / "skipped").iterdir())) == 3


def test_other_errors_end_all_ranks_with_their_message(trained):
    by_rank, _ = trained
    for case, expected in (
        ("broken", "KeyError: 'a fault of the program'"),
        ("bad_scene", "ValueError: no labels to score against in scene3"),
    ):
        errors = [found[case]["error"] for found in by_rank]
        assert errors[1].startswith(expected)
        assert errors[0].startswith(f"RankFailed: rank 1 failed: {expected}")
    for found in by_rank:
        assert found["other_weights"]["error"].startswith("ValueError: ranks 1 begin with other")


def test_a_broken_scene_is_left_out_and_can_be_looked_at(trained):
    """Its nan reaches every rank through the norms; the scene is named."""
    by_rank, folder = trained
    skipped = by_rank[0]["nan"]["skipped"]
    assert skipped > 0
    assert all(torch.isfinite(v).all() for v in by_rank[0]["nan"]["model"].values())
    files = sorted((folder / "nan" / "skipped").iterdir())
    assert len(files) == skipped * len(by_rank)
    kept = [load_skipped_step(file) for file in files]
    guilty = [step for step in kept if "features of scene3" in step.reason]
    assert len(guilty) >= skipped
    step = guilty[0]
    (batch,) = step.batches
    at = batch.scene_ids.index("scene3")
    of_scene = batch.voxels.grid.coords[:, 0] == at
    assert torch.isnan(batch.voxels.feats[of_scene]).any()
    set_random_state(step.random_state)
    assert step.checkpoint == ""  # none was written before
    with pytest.raises(ValueError, match=r"broken\.pt: not a readable skipped step"):
        (folder / "broken.pt").write_bytes(b"torn")
        load_skipped_step(folder / "broken.pt")


def test_reproducers_are_bounded(trained, tmp_path):
    _, folder = trained
    step = load_skipped_step(next((folder / "forward" / "skipped").iterdir()))
    paths = [save_skipped_step(step, tmp_path) for _ in range(MAX_FILES + 2)]
    assert paths[-2:] == [None, None]
    assert [path.name for path in paths[:2]] == ["step_000002_rank1.pt", "step_000002_rank1-2.pt"]
    assert len(list(tmp_path.iterdir())) == MAX_FILES


def test_what_ranks_tell_each_other():
    by_rank = on_ranks(ranks.talking, 3)
    for own, found in enumerate(by_rank):
        assert found["gather"] == [[0, 0.5], [1, 0.5], [2, 0.5]]
        assert found["objects"] == ["r0", "r1", "r2"]
        wide = torch.arange(3000.0).view(3, 1000)
        assert torch.equal(found["wide"], torch.stack([wide, wide + 1, wide + 2]).double())
        assert found["ends"] == [[0.0], [1.0], [2.0]]
        assert found["agreed"] == ""
        kind = "ValueError: " if own == 1 else "RankFailed: rank 1 failed: ValueError: "
        assert found["failed"] == kind + "scene7 is broken"
        assert "ZeroDivisionError" in found["main_failed"]
        if own != 1:  # the rank that had ended its step counts for nothing
            expected = torch.ones(3, 2, 2).double()
            expected[1] = 0
            assert torch.equal(found["short"], expected)
    firsts = [found["first"] for found in by_rank]
    assert min(firsts[1:]) >= firsts[0] + 0.1


@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_a_lost_rank_is_named(how):
    by_rank = on_ranks(ranks.losing_a_rank, 3, how, limit_s=45.0, wait_for=(0, 2))
    for own in (0, 2):
        assert by_rank[own].startswith(f"RanksLost: rank {own}: the other ranks do not answer")
        assert "missing: rank 1; last heard of: rank 0 at step 4, rank 1 at step 3" in by_rank[own]


def test_one_process_of_several_needs_torchrun(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    expected = pytest.raises(ValueError, match="RANK.* is not set: start with torchrun")
    with expected, ranks.process_group("cpu", 1.0):
        pass
