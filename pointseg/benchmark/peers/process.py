"""The parent's side: start a worker, give it its problem, take back what it found.

In a temporary folder the parent writes ``job.json`` and ``problem.npz``; the worker, run as
``python -m <module> <folder>``, writes ``answer.json`` and ``results.npz``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointseg.ops import voxel_keys

PACKAGE_FOLDER = Path(__file__).resolve().parents[3]
PATIENCE_S = 600


class PeerFailure(Exception):
    """An engine gave no result; the message says why in one line."""


@dataclass(frozen=True)
class Job:
    """What a worker is to do with its problem.

    Attributes:
        operator: ``"version"`` (the answer is the engine's version), ``"kernel_map"``,
            ``"sparse_conv"`` or ``"depthwise_conv"``.
        backward: whether the gradients of features and weight are part of it.
        repeats: calls that the median is of.
    """

    operator: str
    backward: bool = False
    repeats: int = 7


@dataclass(frozen=True)
class Peer:
    """An engine and the worker module that knows it.

    Attributes:
        name: as in rows.
        module: run with ``python -m``.
        operators: that it has.
        max_threads: more than these are not asked of it; None for any number.
    """

    name: str
    module: str
    operators: tuple[str, ...]
    max_threads: int | None = None

    def threads(self, wanted: int) -> int:
        """How many threads it gets, and ours beside it."""
        return wanted if self.max_threads is None else min(wanted, self.max_threads)

    def version(self) -> str:
        """Its version. Raises PeerFailure with the text of the import error."""
        answer, _ = self._run(Job("version"), {}, 1)
        return str(answer["version"])

    def measure(
        self, job: Job, problem: Mapping[str, Tensor], threads: int
    ) -> tuple[float, dict[str, Tensor]]:
        """Median time in milliseconds, and results by name. Raises PeerFailure."""
        answer, results = self._run(job, problem, threads)
        return float(answer["median_ms"]), results

    def _run(
        self, job: Job, problem: Mapping[str, Tensor], threads: int
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        paths = [str(PACKAGE_FOLDER), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "passive",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
            save_arrays(folder / "problem.npz", problem)
            command = [sys.executable, "-W", "ignore", "-m", self.module, str(folder)]
            try:
                done = subprocess.run(
                    command,
                    env=environment,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=PATIENCE_S,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise PeerFailure(f"no result within {PATIENCE_S} s") from error
            if done.returncode != 0:
                raise PeerFailure(_reason(done.returncode, done.stderr))
            try:
                answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
                return answer, load_arrays(folder / "results.npz")
            except FileNotFoundError as error:
                raise PeerFailure("ended without an answer") from error


def save_arrays(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors by name, as an npz file."""
    np.savez(path, **{k: x.detach().numpy() for k, x in tensors.items()})  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, Tensor]:
    """What :func:`save_arrays` wrote."""
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def matching_rows(coords: Tensor, others: Tensor) -> Tensor:
    """int64 [N], the row of `others` that equals each row of `coords`; both hold the same voxels.

    Raises PeerFailure where they do not.
    """
    keys, order = voxel_keys(coords).sort()
    other_keys, other_order = voxel_keys(others).sort()
    if not torch.equal(keys, other_keys):
        raise PeerFailure("the engine put out other voxels")
    rows = torch.empty_like(order)
    rows[order] = other_order
    return rows


def find_peers(peers: Iterable[Peer]) -> tuple[tuple[Peer, ...], dict[str, str]]:
    """Those that can be imported; and of all the version, or why it is not measured."""
    found, said = [], {}
    for peer in peers:
        try:
            said[peer.name] = peer.version()
            found.append(peer)
        except PeerFailure as failure:
            said[peer.name] = f"not measured: {failure}"
    return tuple(found), said


def _reason(returncode: int, stderr: str) -> str:
    """The exception a worker died of, or the signal."""
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {returncode}"
