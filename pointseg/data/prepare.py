"""Raw scenes -> prepared scenes: in parallel, resumable, rebuilding only what changed."""

from __future__ import annotations

import dataclasses
import functools
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
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

from pointseg.data.cache import SceneCache, describe_sources, write_text
from pointseg.data.scannet import SPLITS, ScanNetReader, ScanNetSettings

logger = logging.getLogger(__name__)

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
    scene_dir: Path
    root: Path
    folder: Path
    settings: ScanNetSettings
    thorough: bool


@functools.lru_cache(maxsize=1)  # one reader a process, so that it warns about a category once
def _reader(root: Path, settings: ScanNetSettings) -> ScanNetReader:
    return ScanNetReader(root, settings)


def _prepare_scene(job: _Job) -> tuple[str, str, str]:
    """(scene id, "built" | "unchanged" | "failed", message); runs in a worker process."""
    scene_id = job.scene_dir.name
    reader = _reader(job.root, job.settings)
    cache = SceneCache(job.folder)
    settings = dataclasses.asdict(job.settings)
    try:
        sources = reader.source_files(job.scene_dir)
        present = {name: path for name, path in sources.items() if path.is_file()}
        if cache.stale_reason(scene_id, present, settings, job.thorough) is None:
            return scene_id, "unchanged", ""
        # Hashed before reading: a file that changes meanwhile is found stale the next time.
        described = describe_sources(present)
        cache.write(reader.read_scene(job.scene_dir), described, settings)
    except (ValueError, OSError) as error:
        return scene_id, "failed", str(error)
    return scene_id, "built", ""


def prepare(
    reader: ScanNetReader,
    scene_dirs: Sequence[Path],
    folder: Path | str | None = None,
    *,
    dataset: str = "scannet",
    workers: int | None = None,
    thorough: bool = True,
    show_progress: bool = True,
) -> PrepareReport:
    """Bring the prepared scenes in ``folder`` (default ``<root>/prepared``) up to date.

    A scene is rebuilt where its sources, the reader's settings or the format version changed.
    ``thorough`` compares the contents of sources and of prepared arrays; otherwise a source with
    the recorded size and time counts as unchanged. ``workers`` defaults to one process a core where
    there are scenes enough. Scenes that cannot be read are reported and do not stop the others.
    """
    folder = Path(folder) if folder is not None else reader.root / "prepared"
    cache = SceneCache(folder)
    cache.write_index(dataset, dataclasses.asdict(reader.settings))
    _copy_splits(reader.root, folder)
    jobs = [_Job(d, reader.root, folder, reader.settings, thorough) for d in scene_dirs]
    results: dict[str, list[str]] = {"built": [], "unchanged": []}
    failed: dict[str, str] = {}
    with _progress(len(jobs), show_progress) as advance:
        for scene_id, outcome, message in _run(jobs, _num_workers(workers, len(jobs))):
            if outcome == "failed":
                failed[scene_id] = message
            else:
                results[outcome].append(scene_id)
            advance()
    built, unchanged = (tuple(sorted(results[k])) for k in ("built", "unchanged"))
    return PrepareReport(folder, built, unchanged, failed)


def raise_failures(report: PrepareReport) -> None:
    """A ValueError that lists the scenes of a report that failed, if any did."""
    if report.failed:
        shown = [f"  {message}" for message in list(report.failed.values())[:5]]
        more = len(report.failed) - len(shown)
        if more > 0:
            shown.append(f"  and {more} more")
        raise ValueError(f"{len(report.failed)} scenes could not be prepared:\n" + "\n".join(shown))


def _num_workers(workers: int | None, num_jobs: int) -> int:
    if workers is not None:
        if workers < 0:
            raise ValueError(f"workers must be >= 0, got {workers}")
        return min(workers, num_jobs)
    available = len(os.sched_getaffinity(0))
    return min(available, num_jobs // _SCENES_PER_WORKER)


def _run(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[str, str, str]]:
    if workers <= 1:
        yield from map(_prepare_scene, jobs)
        return
    # Not fork: the calling process may hold threads of its own.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        for future in as_completed([pool.submit(_prepare_scene, job) for job in jobs]):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _progress(total: int, show: bool) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("preparing scenes"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _copy_splits(root: Path, folder: Path) -> None:
    """Split lists travel with the prepared scenes, so that the folder can be used on its own."""
    for split in SPLITS:
        name = f"scannetv2_{split}.txt"
        source = next((p for p in (root / "meta" / name, root / name) if p.is_file()), None)
        if source is not None and source.resolve() != (folder / "meta" / name).resolve():
            (folder / "meta").mkdir(parents=True, exist_ok=True)
            write_text(folder / "meta" / name, source.read_text(encoding="utf-8"))
