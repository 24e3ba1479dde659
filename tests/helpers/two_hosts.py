"""Two hosts on one machine: network namespaces that a virtual cable joins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PORT = 29400
CABLE = "wire"  # the interface of each host, in its namespace
SUBNET = "10.213.77"  # exists inside the namespaces only


@dataclass(frozen=True)
class Host:
    """A namespace with an address on the cable."""

    name: str
    address: str

    def command(self, words: Sequence[str]) -> list[str]:
        """The command as it runs on this host."""
        return ["ip", "netns", "exec", self.name, *words]

    def received_bytes(self) -> int:
        """What has come in over the cable."""
        shown = _ip("-n", self.name, "-s", "-j", "link", "show", CABLE)
        return int(json.loads(shown)[0]["stats64"]["rx"]["bytes"])

    def processes(self) -> list[int]:
        return [int(word) for word in _ip("netns", "pids", self.name).split()]


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Both hosts; skips the test by name of what is missing where namespaces are not allowed.

    At the end processes that are left in them are killed, and they are gone.
    """
    if shutil.which("ip") is None:
        pytest.skip("no ip command (iproute2) on this machine")
    first, second = (
        Host(f"pointseg-{os.getpid()}-{index}", f"{SUBNET}.{index}") for index in (1, 2)
    )
    try:
        _ip("netns", "add", first.name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not allowed here ({error.stderr.strip()})")
    try:
        _ip("netns", "add", second.name)
        cable = ("link", "add", CABLE, "netns", first.name, "type", "veth")
        _ip(*cable, "peer", "name", CABLE, "netns", second.name)
        for host in (first, second):
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", CABLE)
            for interface in ("lo", CABLE):
                _ip("-n", host.name, "link", "set", interface, "up")
        yield first, second
    finally:
        _remove(first, second)


def run_on_both(
    hosts: tuple[Host, Host], program: Sequence[str], folder: Path, timeout_s: float
) -> list[str]:
    """Start ``program`` (arguments of `torchrun`) with a rank on each host; outputs of both.

    Fails with the output of a host that fails, or that is not done in time.
    """
    environment = {
        **os.environ,
        "GLOO_SOCKET_IFNAME": CABLE,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),  # this checkout, whatever is installed
    }
    started = []
    for index, host in enumerate(hosts):
        launcher = (
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes", "2", "--nproc-per-node", "1"),
            *("--rdzv-backend", "c10d", "--rdzv-id", "two-hosts"),
            *("--rdzv-endpoint", f"{hosts[0].address}:{PORT}"),
            # Names of hosts are not looked up inside a namespace.
            *("--rdzv-conf", f"is_host={int(index == 0)}", "--local-addr", host.address),
        )
        with open(folder / f"host{index}.txt", "w", encoding="utf-8") as output:
            started.append(
                subprocess.Popen(
                    host.command([*launcher, *program]),
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    deadline = time.monotonic() + timeout_s
    codes: list[int | None] = []
    for process in started:
        try:
            codes.append(process.wait(max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            codes.append(None)
    outputs = [(folder / f"host{index}.txt").read_text() for index in range(2)]
    for code, output, host in zip(codes, outputs, hosts, strict=True):
        assert code == 0, f"{host.name}: exit status {code} (None: too late)\n{output}"
    return outputs


def _remove(*hosts: Host) -> None:
    for host in hosts:
        with suppress(subprocess.CalledProcessError):  # never made
            for process in host.processes():
                with suppress(ProcessLookupError):  # has ended meanwhile
                    os.kill(process, signal.SIGKILL)
            _ip("netns", "delete", host.name)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
    return done.stdout
