"""Prepared scenes: a folder each, with memory-mapped npy arrays and a json that vouches for them.

    <folder>/prepared.json       format version, dataset, reader settings, scenes of each split
    <folder>/<scene>/scene.json  counts, array checksums, hashes of the source files
    <folder>/<scene>/{xyz_m,color,normal,labels,instances,context}.npy
    <folder>/<scene>/extras.<name>.npy

A scene's folder is written under another name and renamed, so it is either complete or absent.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointseg.data.types import PointCloud
from pointseg.files import replace_text

FORMAT_VERSION = 2
"""Raised whenever the reader or the layout changes what a prepared scene holds."""

_INDEX = "prepared.json"
_SCENE = "scene.json"
_ARRAYS = ("xyz_m", "color", "normal", "labels", "instances", "context")
_EXTRAS = "extras."
_REMEDY = "run `pointseg prepare-data` again: it rebuilds this scene alone"


def hash_file(path: Path) -> str:
    """BLAKE2b of a file's content, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe_sources(sources: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Size, modification time and content hash of each source file, by name."""
    described = {}
    for name, path in sorted(sources.items()):
        stat = path.stat()
        described[name] = {
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "blake2b": hash_file(path),
        }
    return described


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


class SceneCache:
    """A folder of prepared scenes made with one set of reader settings.

    ``load`` checks dtypes, shapes and counts every time and the arrays' checksums the first time an
    instance meets a scene.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._verified: set[str] = set()

    # -- the folder -------------------------------------------------------------------------------

    def read_index(self) -> dict[str, Any] | None:
        """``dataset``, ``settings`` and ``splits`` the folder was made with; None without an index.
        A broken one is a ValueError: settings cannot be guessed.
        """
        path = self.folder / _INDEX
        try:
            index = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, RecursionError):
            index = None
        if not _is_index(index):
            raise ValueError(
                f"{path}: broken: it must state dataset, settings and splits; run `pointseg "
                f"prepare-data` again, with --out {self.folder} where that is not beside the raw "
                "scenes"
            )
        return dict(index)

    def write_index(
        self, dataset: str, settings: Mapping[str, Any], splits: Mapping[str, Sequence[str]]
    ) -> None:
        """Record them, making the folder; a folder that cannot be written is a ValueError."""
        try:
            _refuse_read_only(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            content = {
                "format": FORMAT_VERSION,
                "dataset": dataset,
                "settings": dict(settings),
                "splits": {name: list(scene_ids) for name, scene_ids in splits.items()},
            }
            replace_text(self.folder / _INDEX, _to_json(content))
        except OSError as error:
            raise ValueError(
                f"{self.folder}: cannot write prepared scenes ({error.strerror or error}); "
                "prepare them elsewhere with `pointseg prepare-data --out DIR` and use DIR as "
                "data.root"
            ) from error

    def scene_ids(self) -> tuple[str, ...]:
        """Every prepared scene, sorted."""
        folders = (path.parent.name for path in self.folder.glob(f"*/{_SCENE}"))
        # A leading dot marks what an interrupted preparation left half written.
        return tuple(sorted(name for name in folders if not name.startswith(".")))

    # -- one scene --------------------------------------------------------------------------------

    def write(
        self, cloud: PointCloud, sources: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        """Store a scene, replacing what is there. ``sources`` is from :func:`describe_sources`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{cloud.scene_id}.{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            arrays = {}
            for name, array in _arrays_of(cloud).items():
                np.save(temporary / f"{name}.npy", np.ascontiguousarray(array))
                arrays[name] = {
                    "dtype": str(array.dtype),
                    "shape": list(array.shape),
                    "blake2b": hash_file(temporary / f"{name}.npy"),
                }
            content = {
                "format": FORMAT_VERSION,
                "scene_id": cloud.scene_id,
                "num_points": cloud.num_points,
                "origin_m": list(cloud.origin_m),
                "settings": dict(settings),
                "arrays": arrays,
                "sources": dict(sources),
            }
            replace_text(temporary / _SCENE, _to_json(content))
            _install(temporary, self.folder / cloud.scene_id)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._verified.discard(cloud.scene_id)

    def stale_reason(
        self,
        scene_id: str,
        sources: Mapping[str, Path],
        settings: Mapping[str, Any],
        thorough: bool = False,
    ) -> str | None:
        """Why a scene must be (re)built from ``sources``, None where it need not be.

        A source whose size and modification time are as recorded counts as unchanged; ``thorough``
        compares contents regardless. A touched file with the same content is unchanged too.
        """
        try:
            content = self._read_scene_json(scene_id)
        except FileNotFoundError:
            return "not prepared yet"
        except ValueError:
            return "unreadable scene.json"
        if content["format"] != FORMAT_VERSION:
            return f"format version {content['format']} is not {FORMAT_VERSION}"
        if content["settings"] != dict(settings):
            return "made with other settings"
        recorded = content["sources"]
        if recorded.keys() != sources.keys():
            changed = sorted(recorded.keys() ^ sources.keys())
            return f"{changed[0]} was added or removed"
        for name, path in sources.items():
            stat = path.stat()
            if stat.st_size != recorded[name]["size"]:
                return f"{name} changed"
            same_time = stat.st_mtime_ns == recorded[name]["mtime_ns"]
            if (thorough or not same_time) and hash_file(path) != recorded[name]["blake2b"]:
                return f"{name} changed"
        if thorough:
            try:
                self.verify(scene_id)
            except (ValueError, FileNotFoundError):
                return "damaged arrays"
        return None

    def load(self, scene_id: str) -> PointCloud:
        """A prepared scene with memory-mapped arrays.

        FileNotFoundError where it is not prepared, ValueError where its files are damaged.
        """
        if scene_id not in self._verified:
            self.verify(scene_id)
        content = self._read_scene_json(scene_id)
        arrays: dict[str, Any] = {}
        extras: dict[str, Any] = {}
        for name, entry in content["arrays"].items():
            to = extras if name.startswith(_EXTRAS) else arrays
            to[name.removeprefix(_EXTRAS)] = self._map(scene_id, name, entry)
        return PointCloud(scene_id, **arrays, extras=extras, origin_m=tuple(content["origin_m"]))

    def num_points(self, scene_id: str) -> int:
        """Points of a prepared scene; its arrays are not touched."""
        return int(self._read_scene_json(scene_id)["num_points"])

    def files(self, scene_id: str) -> dict[str, Path]:
        """The files of a prepared scene, by name."""
        names = [f"{name}.npy" for name in self._read_scene_json(scene_id)["arrays"]]
        return {name: self.folder / scene_id / name for name in (_SCENE, *names)}

    def verify(self, scene_id: str) -> None:
        """Compare all arrays with the recorded dtypes, shapes and checksums; else a ValueError."""
        content = self._read_scene_json(scene_id)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(
                f"{self.folder / scene_id}: format version {content['format']}, this release "
                f"reads {FORMAT_VERSION}; {_REMEDY}"
            )
        for name, entry in content["arrays"].items():
            path = self.folder / scene_id / f"{name}.npy"
            array = self._map(scene_id, name, entry)
            if len(array) != content["num_points"]:
                raise ValueError(
                    f"{path}: {len(array)} rows, expected {content['num_points']}; {_REMEDY}"
                )
            if hash_file(path) != entry["blake2b"]:
                raise ValueError(f"{path}: damaged (checksum differs); {_REMEDY}")
        self._verified.add(scene_id)

    def _map(self, scene_id: str, name: str, entry: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        path = self.folder / scene_id / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path}: no such file; {_REMEDY}") from error
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{path}: damaged ({error}); {_REMEDY}") from error
        if str(array.dtype) != entry["dtype"] or list(array.shape) != entry["shape"]:
            raise ValueError(
                f"{path}: {array.dtype} {array.shape}, expected {entry['dtype']} "
                f"{tuple(entry['shape'])}; {_REMEDY}"
            )
        return np.asarray(array)  # a plain view of the map: the memmap class slows every operation

    def _read_scene_json(self, scene_id: str) -> dict[str, Any]:
        path = self.folder / scene_id / _SCENE
        try:
            content = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path}: scene is not prepared; {_REMEDY}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not valid json ({error}); {_REMEDY}") from error
        if not isinstance(content, dict) or "format" not in content:
            raise ValueError(f"{path}: does not describe a prepared scene; {_REMEDY}")
        expected = {"num_points", "origin_m", "settings", "arrays", "sources"}
        if content["format"] == FORMAT_VERSION and not expected <= content.keys():
            raise ValueError(f"{path}: lacks one of {', '.join(sorted(expected))}; {_REMEDY}")
        return content


def _is_index(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("dataset"), str):
        return False
    settings, splits = content.get("settings"), content.get("splits")
    if not isinstance(settings, dict) or not isinstance(splits, dict):
        return False
    lists = splits.values()
    return all(isinstance(ids, list) and all(isinstance(s, str) for s in ids) for ids in lists)


def _arrays_of(cloud: PointCloud) -> dict[str, np.ndarray[Any, Any]]:
    """What is stored of a cloud, by the name of its file."""
    own = {name: getattr(cloud, name) for name in _ARRAYS}
    extras = {f"{_EXTRAS}{name}": array for name, array in cloud.extras.items()}
    return {name: array for name, array in {**own, **extras}.items() if array is not None}


def _refuse_read_only(folder: Path) -> None:
    """PermissionError where the nearest existing folder has no write permission for anybody.

    The superuser may write there all the same, but data that was marked so should stay as it is.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.stat().st_mode & 0o222 == 0:
        raise PermissionError(errno.EACCES, "the folder is marked read-only", str(folder))


def _install(temporary: Path, final: Path) -> None:
    """Put a complete folder in its place; maps of the old one stay valid until they are closed."""
    old = temporary.with_name(f"{temporary.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(final, old)
    try:
        os.rename(temporary, final)
    except OSError:
        # Another process finished the same scene in between; both were made from the same sources.
        if not (final / _SCENE).is_file():
            raise
    shutil.rmtree(old, ignore_errors=True)
