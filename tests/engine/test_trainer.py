"""The training loop: what a step computes, when it evaluates and saves, and how it ends."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from rich.console import Console
from torch import nn

from pointseg.data import SCANNET20, VoxelScene, collate
from pointseg.engine import step_numbers
from pointseg.engine.checkpoint import Checkpoint, pack_label_map
from pointseg.engine.loaders import LoadedBatch
from pointseg.engine.logging import RunLog
from pointseg.engine.losses import LossConfig, SegmentationLoss
from pointseg.engine.optimizers import OptimizerConfig, build_optimizer
from pointseg.engine.run_directory import RunDirectory
from pointseg.engine.sampler import Share
from pointseg.engine.schedules import ScheduleConfig
from pointseg.engine.sinks import JsonLines, TensorBoard
from pointseg.engine.step_numbers import DivergenceCheck, TrainingDiverged
from pointseg.engine.train_config import TrainConfig
from pointseg.engine.trainer import Trainer
from pointseg.evaluation import NUSCENES_RULE, SCANNET_RULE
from tests.engine.runs import metrics

NUM_SCENES = 4


def scene(index: int) -> VoxelScene:
    """Scene ``index`` has 20 + 5 * index voxels; half of the last scene's are not annotated."""
    generator = torch.Generator().manual_seed(index)
    num_voxels = 20 + 5 * index
    coords = torch.stack([torch.arange(num_voxels, dtype=torch.int32)] * 3, dim=1)
    labels = torch.randint(0, 5, (num_voxels,), generator=generator)
    if index == NUM_SCENES - 1:
        labels[::2] = -1
    return VoxelScene(
        scene_id=f"scene{index}",
        coords=coords,
        feats=torch.randn(num_voxels, 3, generator=generator),
        voxel_labels=labels,
        point_to_voxel=torch.arange(num_voxels),
        point_labels=labels,
    )


class PointwiseNet(nn.Module):
    """A linear map of the features: no batch statistics, so a split batch is the whole one."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(3, SCANNET20.num_classes)
        for parameter in self.linear.parameters():
            parameter.data.normal_(generator=generator)

    def forward(self, x):
        return self.linear(x.feats)


class NetWithTerms(PointwiseNet):
    def training_terms(self, progress):
        return {"own": self.linear.weight.sum()}, {"temperature": 1.0 - progress}


class NetWithProgress(PointwiseNet):
    """Keeps a diary of what the trainer calls, with the progress it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.tensor(-1.0, dtype=torch.float64))
        self.diary: list[tuple[str, float]] = []

    def set_progress(self, progress):
        self.progress.fill_(progress)
        self.diary.append(("set", progress))

    def forward(self, x):
        self.diary.append(("forward" if self.training else "evaluate", float(self.progress)))
        return super().forward(x)

    def training_terms(self, progress):
        self.diary.append(("terms", progress))
        return {}, {"codebook/encoder.1/perplexity": float(len(self.diary))}


class NetThatWarns(PointwiseNet):
    """Warns of what its script lists, one entry a logged step."""

    def __init__(self, *script: list[str]) -> None:
        super().__init__()
        self.script = list(script)

    def warnings(self):
        return {key: f"stage {key} has collapsed" for key in self.script.pop(0)}


class NetThatDiverges(PointwiseNet):
    def forward(self, x):
        return super().forward(x) * math.inf


def stream(batch_size: int, position: int) -> Iterator[LoadedBatch]:
    while True:
        keys = tuple(divmod(p, NUM_SCENES) for p in range(position, position + batch_size))
        position += batch_size
        yield LoadedBatch(collate([scene(index) for _, index in keys]), Share(keys, position))


def taken_alone(batches) -> Iterator[LoadedBatch]:
    """Batches of one scene each, as a loader gives them."""
    for index, batch in enumerate(batches):
        yield LoadedBatch(batch, Share(((0, index),), index + 1))


class MakeTrainer:
    """Builds a trainer of a stand-in model in a run directory of its own."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.count = 0

    def __call__(
        self,
        model=None,
        evaluate=False,
        loss=None,
        lr=1.0,
        schedule=None,
        rule=SCANNET_RULE,
        console=None,
        **options,
    ):
        self.count += 1
        run = RunDirectory(self.folder / str(self.count))
        label_map = pack_label_map(SCANNET20)
        run.create("", label_map, [])
        config = TrainConfig(**{"log_every": 1, "save_every": 0, "tensorboard": False, **options})
        model = model or PointwiseNet()
        log = RunLog(run, config.steps, console=console or Console(quiet=True))
        return Trainer(
            config=config,
            schedule=schedule or ScheduleConfig(name="constant"),
            model=model,
            loss=SegmentationLoss(loss or LossConfig()),
            optimizer=build_optimizer(OptimizerConfig(lr=lr, weight_decay=0.0), model),
            train_batches=lambda position: stream(config.batch_size, position),
            num_scenes=NUM_SCENES,
            val_batches=[collate([scene(i)]) for i in range(2)] if evaluate else None,
            val_split="val",
            rule=rule,
            label_map=SCANNET20,
            origin=Checkpoint(model={}, config={}, label_map=label_map, in_channels=3),
            log=log,
            device=torch.device("cpu"),
        )


@pytest.fixture
def make_trainer(tmp_path) -> MakeTrainer:
    return MakeTrainer(tmp_path)


def run(trainer: Trainer):
    with trainer.log:
        return trainer.run()


def test_accumulated_batches_make_the_step_of_one_large_batch(make_trainer):
    """Also where they have different numbers of valid voxels."""
    whole = make_trainer(steps=1, batch_size=4)
    parts = make_trainer(steps=1, batch_size=1, accumulate=4)
    run(whole), run(parts)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        # float32 sums in another order
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    first, second = (metrics(t.log.run.path)[0] for t in (whole, parts))
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6)
    assert first["grad_norm"] == pytest.approx(second["grad_norm"], rel=1e-5)


def test_the_loss_is_the_mean_over_valid_voxels(make_trainer):
    trainer = make_trainer(steps=1, batch_size=4)
    batch = next(stream(4, 0)).batch
    logits = trainer.model(batch.voxels)
    expected = nn.functional.cross_entropy(logits, batch.voxel_labels, ignore_index=-1)
    run(trainer)
    assert metrics(trainer.log.run.path)[0]["loss"] == pytest.approx(expected.item(), rel=1e-6)


def test_gradients_are_clipped(make_trainer):
    free, clipped = make_trainer(steps=1), make_trainer(steps=1, clip_norm=0.01)
    start = [p.detach().clone() for p in free.model.parameters()]
    run(free), run(clipped)

    def moved(trainer: Trainer) -> float:  # learning rate 1: as far as the gradient is long
        steps = zip(trainer.model.parameters(), start, strict=True)
        return math.sqrt(sum(float((p.detach() - s).square().sum()) for p, s in steps))

    assert moved(free) > 0.1
    assert moved(clipped) == pytest.approx(0.01, rel=1e-3)
    # what is logged is the norm before clipping
    assert metrics(clipped.log.run.path)[0]["grad_norm"] == pytest.approx(moved(free), rel=1e-4)


def test_the_learning_rate_follows_the_schedule(make_trainer):
    trainer = make_trainer(steps=4, lr=0.5, schedule=ScheduleConfig(name="squared"))
    run(trainer)
    rates = [row["lr"] for row in metrics(trainer.log.run.path)]
    assert rates == pytest.approx([0.5 * (1 - s / 4) ** 2 for s in range(4)])


def test_terms_of_the_model_join_the_loss(make_trainer):
    plain = make_trainer(steps=1, accumulate=2)
    own = make_trainer(NetWithTerms(), steps=1, accumulate=2)
    run(plain), run(own)
    a, b = (metrics(t.log.run.path)[0] for t in (plain, own))
    weight_sum = float(NetWithTerms().linear.weight.detach().sum())
    assert b["loss_own"] == pytest.approx(weight_sum, rel=1e-5)
    assert b["loss"] == pytest.approx(a["loss"] + weight_sum, rel=1e-5)
    assert b["temperature"] == 1.0
    # its gradient, one a weight, counts once a step
    difference = plain.model.linear.weight - own.model.linear.weight
    torch.testing.assert_close(difference, torch.ones_like(difference), rtol=1e-4, atol=1e-5)


def test_a_model_is_told_the_progress_before_each_pass(make_trainer):
    trainer = make_trainer(NetWithProgress(), steps=4, accumulate=2)
    run(trainer)
    told = [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    expected = [(what, p) for p in told for what in ("set", "forward", "terms")]
    assert trainer.model.diary == expected


def test_a_resumed_run_tells_the_progress_it_stood_at(make_trainer):
    first = make_trainer(NetWithProgress(), steps=4)
    for batch in itertools.islice(stream(1, 0), 3):
        first._train_step([batch])
    resumed = make_trainer(NetWithProgress(), steps=4)
    resumed.restore(first.checkpoint())
    assert float(resumed.model.progress) == 0.5  # of the last pass
    run(resumed)
    assert resumed.model.diary == [("set", 0.75), ("forward", 0.75), ("terms", 0.75)]


def test_an_evaluation_leaves_the_progress_alone(make_trainer):
    trainer = make_trainer(NetWithProgress(), evaluate=True, steps=4, evaluate_every=2)
    run(trainer)
    diary = trainer.model.diary
    assert [p for what, p in diary if what == "set"] == [0.0, 0.25, 0.5, 0.75]
    # two scenes after steps 2 and 4, with what the last pass before was told
    assert [p for what, p in diary if what == "evaluate"] == [0.25, 0.25, 0.75, 0.75]


def test_the_average_of_the_model_has_its_progress(make_trainer):
    """The mean of earlier values would lag behind the schedule."""
    trainer = make_trainer(NetWithProgress(), evaluate=True, steps=4, average_decay=0.9)
    run(trainer)
    assert float(trainer.average.module.progress) == float(trainer.model.progress) == 0.75
    evaluated = [p for what, p in trainer.average.module.diary if what == "evaluate"]
    assert evaluated == [0.75, 0.75]


def test_scalars_are_means_over_the_passes_of_a_step(make_trainer):
    trainer = make_trainer(NetWithProgress(), steps=2, accumulate=3)
    run(trainer)
    rows = metrics(trainer.log.run.path)
    # the diary has 3, 6, 9 entries in the passes of the first step, 12, 15, 18 in the second
    assert [row["codebook/encoder.1/perplexity"] for row in rows] == [6.0, 15.0]


def test_scalars_and_warnings_reach_tensorboard(make_trainer):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    net = NetWithProgress()
    net.warnings = lambda: {"codebook/encoder.1": "encoder.1 uses one entry"}
    trainer = make_trainer(net, steps=2)
    run_directory = trainer.log.run
    sinks = [
        JsonLines(run_directory.metrics, print),
        TensorBoard(run_directory.tensorboard, 0, print),
    ]
    trainer.log = RunLog(run_directory, 2, sinks=sinks, console=Console(quiet=True))
    run(trainer)
    events = event_accumulator.EventAccumulator(str(trainer.log.run.tensorboard)).Reload()
    assert [e.value for e in events.Scalars("train/codebook/encoder.1/perplexity")] == [3.0, 6.0]
    assert [e.value for e in events.Scalars("train/warnings")] == [1.0, 1.0]
    assert len(events.Tensors("warnings/codebook/encoder.1/text_summary")) == 1


def test_a_warning_is_told_once_until_it_is_over(make_trainer):
    script = ([], ["a"], ["a", "b"], ["b"], ["a", "b"], [])
    trainer = make_trainer(NetThatWarns(*script), steps=12, log_every=2)
    lines = []
    trainer.log.terminal.message = lines.append
    run(trainer)
    told = [line for line in lines if "warning" in line]
    assert told == [
        "step  4/12  warning: stage a has collapsed",
        "step  6/12  warning: stage b has collapsed",
        "step 10/12  warning: stage a has collapsed",
    ]
    rows = metrics(trainer.log.run.path)
    assert [row["warnings"] for row in rows] == [list(keys) for keys in script]


def test_models_that_cannot_warn_have_no_warnings_in_their_rows(make_trainer):
    trainer = make_trainer(steps=1)
    run(trainer)
    assert "warnings" not in metrics(trainer.log.run.path)[0]


def test_evaluation_checkpoints_and_the_end(make_trainer):
    trainer = make_trainer(evaluate=True, steps=7, evaluate_every=3, save_every=2)
    result = run(trainer)
    rows = metrics(trainer.log.run.path)
    assert [r["step"] for r in rows if r["kind"] == "validation"] == [3, 6, 7]
    assert [r["step"] for r in rows if r["kind"] == "train"] == list(range(1, 8))
    assert (result.completed, result.step, result.signal_name) == (True, 7, "")
    best = max(r["mean_iou"] for r in rows if r["kind"] == "validation")
    assert result.best_metric == best
    assert result.report is not None and result.report.mean_iou == rows[-1]["mean_iou"]
    assert sorted(p.name for p in trainer.log.run.checkpoints.iterdir()) == [
        *("best.pt", "last.pt"),
        "step_00000006.pt",  # the one before
    ]


def test_evaluation_is_by_the_rule_that_is_given(make_trainer):
    trainer = make_trainer(evaluate=True, steps=1, rule=NUSCENES_RULE)
    result = run(trainer)
    assert (result.report.rule, result.report.split) == (NUSCENES_RULE.name, "val")
    validation = [r for r in metrics(trainer.log.run.path) if r["kind"] == "validation"]
    assert validation[0]["fwIoU"] == result.report.scores.further["fwIoU"]


def test_a_finished_run_does_nothing_more(make_trainer):
    first = make_trainer(evaluate=True, steps=2)
    run(first)
    again = make_trainer(evaluate=True, steps=2)
    again.restore(first.checkpoint())
    result = run(again)
    assert result.completed and result.report is None
    assert metrics(again.log.run.path) == []


def test_the_average_of_the_model_is_what_is_evaluated(make_trainer):
    trainer = make_trainer(evaluate=True, steps=3, average_decay=0.5)
    seen = []
    trainer.model.register_forward_hook(lambda *_: seen.append("model"))
    trainer.average.module.register_forward_hook(lambda *_: seen.append("average"))
    weights = []
    step = trainer._train_step

    def record(batches):
        row = step(batches)
        weights.append(trainer.model.linear.weight.detach().clone())
        return row

    trainer._train_step = record
    run(trainer)
    assert seen == ["model"] * 3 + ["average"] * 2
    expected = weights[0]
    for weight in weights[1:]:
        expected = 0.5 * expected + 0.5 * weight
    torch.testing.assert_close(trainer.average.module.linear.weight.detach(), expected)


def test_divergence_stops_before_it_reaches_the_weights(make_trainer):
    trainer = make_trainer(NetThatDiverges(), steps=3, log_every=3, max_skipped_steps=0)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    with pytest.raises(TrainingDiverged, match=r"step 1: loss nan.*scene0.*optimizer\.lr"):
        run(trainer)
    for key, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[key])
    assert not trainer.log.run.checkpoints.exists()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_step_with_nan_is_left_out(make_trainer, precision):
    """Once: the run goes on with the next scenes, its norms and weights untouched."""
    trainer = make_trainer(NetWithProgress(), steps=3, precision=precision, lr=0.01)
    broken = collate([scene(1)])
    broken.voxels.feats.fill_(math.nan)
    batches = [collate([scene(0)]), broken, collate([scene(2)]), collate([scene(3)])]
    trainer.train_batches = lambda position: taken_alone(batches)
    lines = []
    trainer.log.message = lines.append
    assert run(trainer).step == 3
    assert (trainer.position, trainer.skipped_steps, trainer.skipped_in_a_row) == (4, 1, 0)
    (line,) = [line for line in lines if "left out" in line]
    assert line.startswith("step 2/3  left out: loss ")
    assert line.endswith("(scenes scene1); nan or infinity in the features of scene1")
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    assert [path.name for path in trainer.log.run.skipped.iterdir()] == ["step_000002_rank0.pt"]


def test_steps_left_out_in_a_row_outlive_a_resume(make_trainer):
    trainer = make_trainer(NetThatDiverges(), steps=3, max_skipped_steps=2)
    taken = taken_alone([collate([scene(i)]) for i in range(2)])
    assert [trainer._train_step([loaded]) for loaded in taken] == [None, None]
    resumed = make_trainer(NetThatDiverges(), steps=3, max_skipped_steps=2)
    resumed.restore(trainer.checkpoint())
    with pytest.raises(TrainingDiverged, match=r"step 1: loss nan.*3 failed in a row"):
        run(resumed)


def wait_for_nothing(trainer):
    """As on a GPU: numbers are left on the device until they are logged."""
    trainer._divergence = DivergenceCheck(gradients_may_overflow=False, at_once=False)


@pytest.mark.parametrize(
    ("options", "found_after"),
    [({"log_every": 1}, 1), ({"log_every": 3}, 3), ({"save_every": 2, "log_every": 3}, 2)],
    ids=str,
)
def test_divergence_stops_before_it_reaches_a_checkpoint(make_trainer, options, found_after):
    """Found when the numbers are read, not later than where the state would be saved."""
    trainer = make_trainer(NetThatDiverges(), steps=3, **options)
    wait_for_nothing(trainer)
    with pytest.raises(TrainingDiverged, match=r"step 1: loss nan.*scene0.*optimizer\.lr"):
        run(trainer)
    assert trainer.step == found_after
    assert not trainer.log.run.checkpoints.exists()


def test_a_step_reads_nothing_from_the_device(make_trainer, monkeypatch):
    """Numbers are read at logged steps: on a GPU every reading waits for all the work before it."""
    readings = []
    real = step_numbers.on_host

    def counted(rows):
        readings.append(len(rows))
        return real(rows)

    monkeypatch.setattr(step_numbers, "on_host", counted)
    trainer = make_trainer(steps=6, log_every=3)
    wait_for_nothing(trainer)
    run(trainer)
    # Three steps at once for divergence, then the row of the last; at the end nothing is left.
    assert readings == [3, 2, 3, 2, 0]


def test_a_step_without_valid_voxels_changes_nothing(make_trainer):
    trainer = make_trainer(steps=1)
    blank = collate([scene(0)])
    blank = dataclasses.replace(blank, voxel_labels=torch.full_like(blank.voxel_labels, -1))
    trainer.train_batches = lambda _: itertools.repeat(LoadedBatch(blank, Share(((0, 0),), 1)))
    before = trainer.model.linear.weight.detach().clone()
    run(trainer)
    assert torch.equal(trainer.model.linear.weight, before)
    assert metrics(trainer.log.run.path)[0]["loss"] == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"accumulate": 0},
        {"log_every": 0},
        {"evaluate_every": -1},
        {"max_points": -1},
        {"clip_norm": -1.0},
        {"average_decay": 1.0},
        {"max_skipped_steps": -1},
        {"timeout_s": 0.0},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TrainConfig(**{"steps": 1, **options})
