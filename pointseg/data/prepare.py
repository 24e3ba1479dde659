"""Raw scenes -> prepared scenes: in parallel, resumable, rebuilding only what changed."""

from __future__ import annotations

import dataclasses
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pointseg.data.cache import SceneCache, describe_sources
from pointseg.data.catalog import SceneReader
from pointseg.data.processes import in_processes, unpickled

_SCENES_PER_WORKER = 8  # starting a process costs about as much as preparing this many scenes


@dataclass(frozen=True)
class PrepareReport:
    """What :func:`prepare` did; ``failed`` maps scene ids to the error message."""

    folder: Path
    built: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed: dict[str, str]

    def summary(self) -> str:
        return (
            f"{len(self.built)} scenes prepared, {len(self.unchanged)} unchanged, "
            f"{len(self.failed)} failed -> {self.folder}"
        )


@dataclass(frozen=True)
class _Job:
    scene_id: str
    reader: bytes
    folder: Path
    thorough: bool


def _prepare_scene(job: _Job) -> tuple[str, str, str]:
    """(scene id, "built" | "unchanged" | "failed", message); runs in a worker process."""
    scene_id = job.scene_id
    reader: SceneReader = unpickled(job.reader)
    cache = SceneCache(job.folder)
    settings = dataclasses.asdict(reader.settings)
    try:
        sources = reader.source_files(scene_id)
        if cache.stale_reason(scene_id, sources, settings, job.thorough) is None:
            return scene_id, "unchanged", ""
        # Hashed before reading: a file that changes meanwhile is found stale the next time.
        described = describe_sources(sources)
        cache.write(reader.read_scene(scene_id), described, settings)
    except Exception as error:  # a fault of a reader must not stop the others, either
        return scene_id, "failed", message_of(error, scene_id)
    return scene_id, "built", ""


def prepare(
    reader: SceneReader,
    scene_ids: Sequence[str],
    folder: Path | str | None = None,
    *,
    dataset: str,
    splits: Mapping[str, Sequence[str]],
    workers: int | None = None,
    thorough: bool = True,
    show_progress: bool = True,
) -> PrepareReport:
    """Bring the prepared scenes in ``folder`` (default ``<root>/prepared``) up to date.

    ``dataset`` and ``splits`` (scenes of each) are recorded, so that the folder can be opened on
    its own.

    A scene is rebuilt where its sources, the reader's settings or the format version changed.
    ``thorough`` compares the contents of sources and of prepared arrays; otherwise a source with
    the recorded size and time counts as unchanged. ``workers`` defaults to one process a core where
    there are scenes enough. Scenes that cannot be read are reported and do not stop the others.
    """
    folder = Path(folder) if folder is not None else reader.root / "prepared"
    cache = SceneCache(folder)
    cache.write_index(dataset, dataclasses.asdict(reader.settings), splits)
    pickled = pickle.dumps(reader)
    jobs = [(_Job(scene_id, pickled, folder, thorough),) for scene_id in scene_ids]
    results: dict[str, list[str]] = {"built": [], "unchanged": []}
    failed: dict[str, str] = {}
    with progress_of("preparing scenes", len(jobs), show_progress) as advance:
        num_workers = workers_for(len(jobs), workers)
        for scene_id, outcome, message in in_processes(_prepare_scene, jobs, num_workers):
            if outcome == "failed":
                failed[scene_id] = message
            else:
                results[outcome].append(scene_id)
            advance()
    built, unchanged = (tuple(sorted(results[k])) for k in ("built", "unchanged"))
    return PrepareReport(folder, built, unchanged, failed)


def message_of(error: Exception, scene_id: str) -> str:
    """What an error of a reader says; the scene and the error where that is a fault of its own."""
    expected = isinstance(error, (ValueError, OSError))
    return str(error) if expected else f"{scene_id}: the reader failed: {error!r}"


def raise_failures(report: PrepareReport) -> None:
    """A ValueError that lists the scenes of a report that failed, if any did."""
    if report.failed:
        shown = [f"  {message}" for message in list(report.failed.values())[:5]]
        more = len(report.failed) - len(shown)
        if more > 0:
            shown.append(f"  and {more} more")
        raise ValueError(f"{len(report.failed)} scenes could not be prepared:\n" + "\n".join(shown))


def workers_for(num_scenes: int, workers: int | None) -> int:
    """The number of processes asked for; None: one a core, where there are scenes enough."""
    if workers is None:
        return min(len(os.sched_getaffinity(0)), num_scenes // _SCENES_PER_WORKER)
    if workers < 0:
        raise ValueError(f"workers must be >= 0, got {workers}")
    return workers


@contextmanager
def progress_of(title: str, total: int, show: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr; what is yielded advances it by one."""
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
