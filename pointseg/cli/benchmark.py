"""Measure operators against plain torch and other engines; how they scale with size.

Suites ops and codebook print a table of ratios; engines that can be imported (MinkowskiEngine,
spconv) are measured beside ours, in processes of their own. The suite scaling goes from ten
thousand to five million voxels and writes rows, fitted lines and pictures to a folder; conv_choice
measures which algorithm a convolution should take on a GPU, and writes the table that they are
chosen by. ranks trains on generated rooms with one process, two and so on, up to a core each;
communication computes what ranks send each other in a step of every model.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointseg.cli import PACKAGE_DIR, run_main
from pointseg.files import replace_text

if TYPE_CHECKING:
    from pointseg.benchmark import Options

# Threads that spin while they wait slow down whoever runs between them. OpenMP reads this when it
# is loaded, so the measuring process has to be started with it.
WAIT_POLICY = "OMP_WAIT_POLICY"
SCALING = "scaling"
CHOICE = "conv_choice"
RANKS = "ranks"
COMMUNICATION = "communication"
ON_DEVICES = ("ops", "codebook", "gpu", "model", "memory", CHOICE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "suite",
        help="what to measure: ops, codebook, gpu, data, model, memory, scaling, conv_choice, "
        "ranks; or communication",
    )
    parser.add_argument("--quick", action="store_true", help="one small scene, fewer repeats")
    parser.add_argument("--only", help="cases to measure: a part of the name, or a pattern with *")
    parser.add_argument(
        "--device",
        default="cpu",
        help="suites ops, codebook, gpu, model, memory, conv_choice: cpu (default) or cuda",
    )
    parser.add_argument("--threads", type=int, help="threads for ours (default: torch's choice)")
    parser.add_argument(
        "--voxels",
        type=_numbers,
        help="suite model: time, memory and linear fits at these sizes (100000,200000,...)",
    )
    parser.add_argument("--json", type=Path, help="write header and rows to this file")
    parser.add_argument("--markdown", type=Path, help="write them as markdown to this file")
    parser.add_argument(
        "--out",
        type=Path,
        help="scaling: folder for rows, tables and pictures; conv_choice: the table, such as "
        "pointseg/ops/conv_choice.json, which is replaced",
    )


def run(args: argparse.Namespace) -> int:
    _check(args)
    if WAIT_POLICY not in os.environ and args.suite != COMMUNICATION:  # which measures nothing
        # The same pointseg, also where it is not installed.
        paths = [str(PACKAGE_DIR.parent), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            WAIT_POLICY: "passive",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        command = [sys.executable, "-m", "pointseg", "benchmark", *_argv(args)]
        return subprocess.run(command, env=environment, check=False).returncode
    own = {
        SCALING: _scaling,
        CHOICE: _choice,
        RANKS: _ranks,
        COMMUNICATION: _communication,
    }
    return own.get(args.suite, _suite)(args)


def _check(args: argparse.Namespace) -> None:
    if args.threads is not None and args.threads < 1:
        raise ValueError(f"--threads: expected at least 1, got {args.threads}")
    if args.device != "cpu" and args.suite not in ON_DEVICES:
        names = ", ".join(ON_DEVICES)
        raise ValueError(f"--device: of the suites only {names} take one, not {args.suite}")
    if args.suite == SCALING and args.out is None:
        raise ValueError("--out: expected the folder for rows, tables and pictures of scaling")
    has_out = args.suite in (SCALING, CHOICE)
    tables = args.suite in (RANKS, COMMUNICATION)
    others = ("json", "markdown") if has_out else ("out",)
    wrong = [n for n in (("json", "markdown", "out") if tables else others) if getattr(args, n)]
    if wrong:
        instead = "the terminal" if tables else "--out" if has_out else "--json and --markdown"
        raise ValueError(f"--{wrong[0]}: the suite {args.suite} writes to {instead}")


def _suite(args: argparse.Namespace) -> int:
    from pointseg import benchmark

    if args.suite not in benchmark.SUITES:
        names = ", ".join((*benchmark.SUITES, SCALING, CHOICE, RANKS, COMMUNICATION))
        raise ValueError(f"suite: expected one of {names}, got {args.suite!r}")
    if args.voxels and args.suite != "model":
        raise ValueError(f"--voxels: only suite model has sizes to choose, not {args.suite}")
    suite = benchmark.SUITES[args.suite]
    peers, said = benchmark.find_peers(suite.peers if args.device == "cpu" else ())
    options = _options(args, peers)
    measured_on = (options.device, options.ceilings)
    head = benchmark.header(
        args.suite, suite.scenes(options), options.threads, options.quick, said, *measured_on
    )
    _warn_if_busy(head)
    rows = []
    for row in suite.run(options):
        rows.append(row)
        result = row.note if row.ratio is None else f"x{row.ratio:.2f}"
        beside = "" if row.other == "-" else f", {row.other} {result}"
        _tell(f"{row.case}: {row.ours:.4g} {row.unit}{beside}")
    if not rows:
        raise _nothing_matches(args)
    benchmark.print_table(head, rows)
    if args.json:
        benchmark.write_json(args.json, head, rows)
    if args.markdown:
        replace_text(args.markdown, benchmark.markdown_page(head, rows))
    return 0


def _scaling(args: argparse.Namespace) -> int:
    from pointseg.benchmark import header, pictures, report, scaling
    from pointseg.benchmark.inputs import HALL_VOXEL_SIZE_M
    from pointseg.benchmark.suites import scaling as suite

    options = _options(args)
    head = header(SCALING, (), options.threads, options.quick)
    _warn_if_busy(head)
    points = []
    for size in suite.sizes(options):
        coords, grid = suite.hall(size)
        head["scenes"][f"hall_{size}"] = report.scene_facts(HALL_VOXEL_SIZE_M, grid)
        for point in suite.measure(options, coords, grid):
            points.append(point)
            _tell(
                f"{point.case} {point.size:,}: {point.engine}, {point.threads} threads, "
                f"{point.time_ms:.4g} ms, {point.memory_mib:.4g} MiB"
            )
    if not points:
        raise _nothing_matches(args)
    lines = list(scaling.fits(points))
    table = scaling.fit_table(lines)
    facts = report.header_lines(head)
    page = "\n".join(f"* {fact}" for fact in facts) + f"\n\n{table}\n{scaling.point_table(points)}"
    replace_text(args.out / "scaling.md", page)
    document = {"header": head, "points": list(map(asdict, points))}
    document["fits"] = list(map(asdict, lines))
    report.write_document(args.out / "scaling.json", document)
    written, no_png = pictures.write_pictures(points, args.out, facts[0])
    print("\n".join(facts), table, sep="\n\n")
    for path in (args.out / "scaling.md", args.out / "scaling.json", *written):
        print(path)
    if no_png:
        print(f"no PNG: {no_png}")
    return 0


def _choice(args: argparse.Namespace) -> int:
    from pointseg.benchmark import header, report
    from pointseg.benchmark.inputs import CORNER
    from pointseg.benchmark.suites import conv_choice
    from pointseg.ops.conv_choice import write_table

    if args.only:
        raise ValueError("--only: the suite conv_choice needs all sizes for its table")
    options = _options(args)
    measured_on = (options.device, options.ceilings)
    head = header(CHOICE, (CORNER,), options.threads, options.quick, {}, *measured_on)
    _warn_if_busy(head)
    rows = []
    for row in conv_choice.measure(options, CORNER.grid(options.device)):
        rows.append(row)
        _tell(
            f"{row.direction} {row.products}: {row.num_taps} taps, {row.c_in} to {row.c_out} "
            f"channels, algorithm {row.algorithm}: {1e3 * row.time_ms:.4g} us"
        )
    if args.out:
        write_table(rows, "; ".join(report.header_lines(head)), args.out)
        print(args.out)
    return 0


def _ranks(args: argparse.Namespace) -> int:
    from pointseg.benchmark import header, ranks, report
    from pointseg.data.synthetic import RoomSet, synthesize_rooms

    counts = range(1, 1 + (2 if args.quick else os.cpu_count() or 1))
    head = header(RANKS, (), 1, args.quick)
    _warn_if_busy(head)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "rooms"
        synthesize_rooms(root, RoomSet(train=2 if args.quick else 8, val=1))
        task = ranks.RanksTask(root, steps=4 if args.quick else 30)
        costs = []
        for count in counts:
            costs.append(ranks.measure_ranks(task, count, Path(folder)))
            _tell(f"{count} ranks: {costs[-1].step_ms:.0f} ms a step")
    print("\n".join(report.header_lines(head)), ranks.ranks_table(costs), sep="\n\n")
    return 0


def _communication(args: argparse.Namespace) -> int:
    from pointseg.benchmark import communication

    print(communication.traffic_table(communication.registered_traffic()))
    return 0


def _options(args: argparse.Namespace, peers: tuple[Any, ...] = ()) -> Options:
    import torch

    from pointseg.benchmark import Options
    from pointseg.benchmark.ceilings import measure_ceilings

    threads = args.threads or torch.get_num_threads()
    device = torch.device(args.device)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device: expected cpu or cuda, got {args.device}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {args.device}: torch sees no GPU here")
    ceilings = None if device.type == "cpu" else measure_ceilings(device)
    return Options(
        threads, args.quick, args.only or "*", peers, args.voxels or (), device, ceilings
    )


def _warn_if_busy(head: dict[str, Any]) -> None:
    if head["busy"]:
        _tell(f"warning: load average {head['load_average']}, figures will be off")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nothing_matches(args: argparse.Namespace) -> ValueError:
    return ValueError(
        f"--only: no case of the suite {args.suite} matches {args.only!r}; expected a part of a "
        "name such as conv_fwd, or a pattern such as 'conv*C32*'"
    )


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(","))
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of voxels above 0, got {text}")
    return numbers


def _argv(args: argparse.Namespace) -> list[str]:
    argv = [args.suite, *(["--quick"] if args.quick else [])]
    if args.voxels:
        argv.append(f"--voxels={','.join(map(str, args.voxels))}")
    for name in ("only", "device", "threads", "json", "markdown", "out"):
        value = getattr(args, name)
        if value is not None:
            argv += [f"--{name}={value}"]
    return argv


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)
