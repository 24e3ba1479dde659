"""Plants index errors in the CUDA kernels, and asks of each that a test on a CPU fails.

    python -m tests.mutation [part of a name]

A copy of csrc/ under build/mutation is built once. Then one error at a time is planted there, what
depends on it is compiled again for emulated threads, and the tests that should notice run with that
library. Exits with 1 if an error survives, or if a text to replace is not there exactly once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.kernels import EMULATED_LIBRARY, ROOT

WORK = ROOT / "build" / "mutation"


@dataclass(frozen=True)
class Mutation:
    """An error to plant: `text`, which `file` under csrc/ holds once, becomes `replacement`."""

    name: str
    file: str
    text: str
    replacement: str
    tests: str
    """Arguments of pytest: what fails if the error is there."""


VOXELIZE = "tests/ops/test_voxelize.py -k emulated"
EXECUTOR = "tests/ops/test_executor.py -k emulated"
KERNEL_MAP = "tests/ops/test_kernel_map.py -k emulated"
ROW_LISTS = "tests/ops/test_row_lists.py -k emulated"
CONV = "tests/ops/test_conv_algorithms.py -k emulated"
WEIGHT_GRAD = "tests/ops/test_conv_weight_grad.py -k emulated"
EVERY_OP = "tests/ops/test_every_op.py -k 'emulated and {}'"

MUTATIONS = (
    Mutation(
        "voxel keys: rows are read three numbers apart",
        "kernels/cuda/voxelize.cu",
        "load_pack<4>(coords + 4 * i)",
        "load_pack<4>(coords + 3 * i)",
        VOXELIZE,
    ),
    Mutation(
        "voxel keys: blocks overlap",
        "kernels/cuda/voxelize.cu",
        "const int64_t i = t.block() * kThreads + t.thread();",
        "const int64_t i = t.block() * (kThreads - 1) + t.thread();",
        VOXELIZE,
    ),
    Mutation(
        "voxel keys: the rows of the last block are left out",
        "kernels/cuda/voxelize.cu",
        "num_blocks_for(num_rows, VoxelKeys::kThreads)",
        "num_rows / VoxelKeys::kThreads",
        VOXELIZE,
    ),
    Mutation(
        "kernel map: the highest tap of a column is not looked for",
        "kernels/cuda/kernel_map.cu",
        "keys[p] - low <= span",
        "keys[p] - low < span",
        KERNEL_MAP,
    ),
    Mutation(
        "kernel map: a pair goes one place too far in its group",
        "kernels/cuda/kernel_map.cu",
        "t.shuffle(next, tap) + std::popcount(bits & below)",
        "t.shuffle(next, tap) + std::popcount(bits & (below << 1 | 1))",
        KERNEL_MAP,
    ),
    Mutation(
        "search: a step of the gallop goes a place too far",
        "kernels/cuda/search.h",
        "begin += step;",
        "begin += step + 1;",
        KERNEL_MAP,
    ),
    Mutation(
        "row lists: of more than 64 taps the first ones are walked again",
        "kernels/cuda/row_lists.cu",
        "if (tap % kAhead == 0) load_bounds",
        "if (tap == 0) load_bounds",
        ROW_LISTS,
    ),
    Mutation(
        "convolution: neighbours of the upper half of a tile do not count as present",
        "kernels/cuda/conv_tile.h",
        "row[t.lane()] >= 0 || row[t.lane() + kWarp] >= 0",
        "row[t.lane()] >= 0 || row[t.lane()] >= 0",
        CONV,
    ),
    Mutation(
        "convolution: the last step of a tile is left out if it is not full",
        "kernels/cuda/conv_tile.h",
        "(found * per_tap + kStepPieces - 1) / kStepPieces",
        "(found * per_tap) / kStepPieces",
        CONV,
    ),
    Mutation(
        "convolution: a step is multiplied before its copies have arrived",
        "kernels/cuda/conv_tile.h",
        "t.template wait<kStages - 2>();",
        "t.template wait<kStages - 1>();",
        CONV,
    ),
    Mutation(
        "gradient of weights: slices share a block of rows",
        "kernels/cuda/weight_grad_tile.h",
        "segment_of((slice + 1) * map.num_blocks / args.num_slices)",
        "segment_of((slice + 1) * map.num_blocks / args.num_slices + 1)",
        WEIGHT_GRAD,
    ),
    Mutation(
        "attention: a head chooses by the head after it",
        "kernels/cuda/codebook_attention.cu",
        "const HeadChoice<T, V> choice{args.choice, vector / vectors_of_head};",
        "const HeadChoice<T, V> choice{args.choice, (vector + 1) / vectors_of_head};",
        EVERY_OP.format("codebook_attention"),
    ),
    Mutation(
        "depthwise and codebook weights: a tile's neighbours are one row off",
        "kernels/cuda/tap_sums.cu",
        "shared.neighbors[tap][row] = lists.neighbors[pair];",
        "shared.neighbors[tap][row ^ 1] = lists.neighbors[pair];",
        EVERY_OP.format("depthwise"),
    ),
    Mutation(
        "executor: the second pair of rows of an A fragment is the first",
        "kernels/cuda/emulated_thread.h",
        ".a[(row >= 8 ? 1 : 0) + 2 * upper]",
        ".a[2 * upper]",
        EXECUTOR,
    ),
    Mutation(
        "executor: turned matrices are not turned",
        "kernels/cuda/emulated_thread.h",
        "posted(8 * i + 2 * (lane() % 4) + j)",
        "posted(8 * i + lane() / 4 + 0 * j)",
        EXECUTOR,
    ),
)


class MutationError(RuntimeError):
    """The check itself cannot be made."""


def prepare(work: Path) -> Path:
    """A copy of csrc/ in `work`; files that have not changed keep their time, and their objects."""
    source, copy = ROOT / "csrc", work / "csrc"
    wanted = {
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for path in sorted(copy.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(copy) not in wanted:
            path.unlink()
    for name in sorted(wanted):
        target = copy / name
        if not target.is_file() or target.read_bytes() != (source / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
    return copy


def build(copy: Path) -> Path:
    """The emulated library of a copy of csrc/; MutationError with what the compiler said."""
    command = [sys.executable, str(copy / "native_build.py"), "emulated"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MutationError(done.stderr)
    return copy.parent / "build" / "native" / "_C_emulated.so"


@contextmanager
def planted(mutation: Mutation, copy: Path) -> Iterator[None]:
    """While entered, the error is in the copy."""
    path = copy / mutation.file
    sound = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (found := sound.count(mutation.text)) != 1:
        raise MutationError(f"csrc/{mutation.file} holds {found} times: {mutation.text}")
    path.write_text(sound.replace(mutation.text, mutation.replacement), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(sound, encoding="utf-8")


def tests_fail(tests: str, library: Path) -> bool:
    """Whether the tests notice; MutationError where there is nothing to run."""
    options = ("-x", "-q", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *shlex.split(tests), *options]
    environment = {**os.environ, EMULATED_LIBRARY: str(library)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    # pytest: 0 all passed, 1 some failed; an emulation that is killed by a signal has failed, too.
    if done.returncode not in (0, 1) and done.returncode >= 0:
        raise MutationError(f"pytest {tests}: {done.stdout}{done.stderr}")
    return done.returncode != 0


def survivors(mutations: tuple[Mutation, ...], copy: Path) -> list[Mutation]:
    """The mutations that no test notices, planted in a copy of csrc/; says what came of each."""
    library = build(copy)
    for tests in dict.fromkeys(mutation.tests for mutation in mutations):
        if tests_fail(tests, library):
            raise MutationError(f"pytest {tests} fails without any error planted")
    missed = []
    for mutation in mutations:
        start = time.perf_counter()
        with planted(mutation, copy):
            caught = tests_fail(mutation.tests, build(copy))
        if not caught:
            missed.append(mutation)
        verdict = "caught" if caught else "MISSED"
        took_s = time.perf_counter() - start
        print(f"{verdict}  {mutation.name}  ({mutation.tests}; {took_s:.0f} s)", flush=True)
    return missed


def main(argv: list[str]) -> int:
    chosen = tuple(m for m in MUTATIONS if all(word in m.name for word in argv))
    if not chosen:
        raise SystemExit(f"no mutation is called {' '.join(argv)!r}")
    try:
        missed = survivors(chosen, prepare(WORK))
    except MutationError as error:
        raise SystemExit(str(error)) from error
    print(f"{len(chosen) - len(missed)} of {len(chosen)} planted errors are caught")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
