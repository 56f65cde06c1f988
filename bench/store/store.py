"""The artifact store: the result of a stage is kept under a hash of everything that decided it.

Layout: `<root>/<stage>/<key>/` holds a finished artifact and its `meta.json`; `<key>.partial/` beside it is
the work folder of an unfinished one, which outlives a kill so that checkpoints in it can be resumed. What may not know
its key works in `<root>/.apart/`, in a folder with a random name that the work folder has noted.
`<root>/.locks/` holds one lock file per artifact: whoever makes or prunes it holds that lock; readers need
none, because a finished folder appears in one step. Nothing is ever pickled.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import BenchError

from .artifact import META, SCRATCH, TIME, ArtifactBuilder, drop_apart, earlier_time, work_of
from .checksums import CHECKSUMS, QUICK, changed, checksums
from .files import read_json, sync, write_json, writing

log = logging.getLogger(__name__)

UNKNOWN = "no checksums"
_STAGE = re.compile(r"[a-z0-9][a-z0-9_-]*")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class StoreEntry:
    """One artifact, or (not `finished`) what there is of one. Times are UTC; `seconds`: what it took."""

    stage: str
    key: str
    path: Path
    bytes: int
    created: datetime
    last_used: datetime
    finished: bool
    seconds: float


class Store:
    """A folder of artifacts, safe for several processes at once. The constructor touches nothing on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check_writable(self, need_bytes: int = 0) -> None:
        """Raise BenchError now, not in an hour, where the store cannot be written or lacks `need_bytes`."""
        probe = self.root / f".probe-{uuid.uuid4().hex}"
        try:
            with writing(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                probe.write_bytes(b"\0" * 4096)
                sync(probe)
        except BenchError as error:
            raise BenchError(f"{error}; --store or BENCH_STORE names another store") from error
        except FileNotFoundError:  # as in /proc
            raise BenchError(f"the store {self.root} cannot be written: nothing can be created there") from None
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
        free = shutil.disk_usage(self.root).free
        if free < need_bytes:
            raise BenchError(
                f"the store {self.root} has {free / 2**20:.0f} MiB left, this run needs about "
                f"{need_bytes / 2**20:.0f}: free some space (`bench store prune` helps)"
            )

    def find(self, stage: str, key: str, *, touch: bool = True, read: bool = False) -> Path | None:
        """The folder of a finished artifact, else None (a damaged one counts as not there; the log says why).

        `touch` marks it as used now, which `prune` goes by. Sizes are always compared; with `read` the files that are
        quickly read (QUICK) are, and their checksums compared.
        """
        folder = self._folder(stage, key)
        with contextlib.suppress(OSError):  # what a store forbids us to see is found out when it is written
            if folder.is_dir() and self._usable(folder, stage, key, "is not used", QUICK if read else 0):
                if touch:
                    with contextlib.suppress(OSError):  # a read-only store can still be read
                        os.utime(folder / META)
                return folder
        return None

    def meta(self, stage: str, key: str) -> dict[str, Any] | None:
        """meta.json of a finished artifact, None where `find` finds none.

        Its keys: stage, key, version, config, inputs, files, sha256, seconds, peak_memory_mb, created.
        """
        folder = self._folder(stage, key)
        with contextlib.suppress(OSError):
            if folder.is_dir():
                return self._usable(folder, stage, key, "is not used", 0)
        return None

    @contextlib.contextmanager
    def open(
        self,
        stage: str,
        key: str,
        *,
        version: str | int = "",
        config: Any = None,
        inputs: Mapping[str, str] | None = None,
        amount: int = 0,
    ) -> Iterator[ArtifactBuilder]:
        """Make an artifact under its lock: the block's end finishes it, an exception keeps the work folder.

        Waits while another process makes the same one, and then yields it with `finished` set. `version`,
        `config` and `inputs` (what `key_of` was given) and `amount` (of work) are written to meta.json. Not reentrant:
        a block must not open its own artifact. Raises BenchError where the store cannot be written.
        """
        folder = self._folder(stage, key)
        about = {"stage": stage, "key": key, "version": version, "config": config}
        about |= {"inputs": dict(inputs or {}), "amount": amount}
        with self._locked(stage, key), writing(self.root, only_below=True):
            if self._finished_already(folder, stage, key):
                yield ArtifactBuilder(folder, finished=True)
                return
            work = _partial(folder)
            work.mkdir(parents=True, exist_ok=True)
            for left in [path for path in work_of(work) if path.match(".*.tmp")]:  # a killed attempt's, half-written
                left.unlink(missing_ok=True)
            making = ArtifactBuilder(work)
            try:
                yield making
            except BaseException:
                making.abandon()
                raise
            _finish(making, folder, about)

    def entries(self) -> list[StoreEntry]:
        """Everything in the store, finished or not, by stage and key."""
        found = []
        for folder in sorted(self.root.glob("[!.]*/*")):
            key, _, rest = folder.name.partition(".")
            if _KEY.fullmatch(key) and rest in ("", "partial") and folder.is_dir():
                with contextlib.suppress(FileNotFoundError):  # pruned or finished while we look
                    found.append(_entry(folder, key))
        return found

    def check(self) -> Iterator[tuple[StoreEntry, str]]:
        """Every finished or damaged artifact with what is wrong with it, all of its files read: "" for nothing, UNKNOWN
        for one whose checksums were not written."""
        for entry in self.entries():
            if entry.path.name != entry.key:
                continue  # unfinished
            meta, fault = _described(entry.path, entry.stage, entry.key)
            yield entry, fault or changed(entry.path, meta) or ("" if CHECKSUMS in meta else UNKNOWN)

    def drop(self, entry: StoreEntry) -> bool:
        """Remove an artifact, unless it is being made; whether it was."""
        return self._drop(entry, dry_run=False) > 0 or not entry.path.exists()

    def prune(
        self,
        *,
        older_than: float | None = None,
        max_bytes: int | None = None,
        stage: str | None = None,
        keys: Collection[str] | None = None,
        partial: bool = False,
        dry_run: bool = False,
    ) -> int:
        """Drop artifacts; the bytes freed (`dry_run`: that would be). What is being made is never dropped.

        The conditions add up: not used for `older_than` seconds; of that `stage`; of these `keys`;
        `partial`: only unfinished ones. With `max_bytes`, the longest unused of those go until the whole store holds no
        more than that. At least one condition must be given (`older_than=0` means everything).
        """
        if older_than is None and max_bytes is None and stage is None and keys is None and not partial:
            raise BenchError("say what to prune: an age, a size to shrink to, a stage, a run, or unfinished work")
        entries = sorted(self.entries(), key=lambda entry: entry.last_used)
        excess = math.inf if max_bytes is None else sum(entry.bytes for entry in entries) - max_bytes
        freed, now = 0, time.time()
        for entry in entries:
            unused = max(0.0, now - entry.last_used.timestamp())  # a clock ahead of ours counts as now
            meant = (stage is None or entry.stage == stage) and not (partial and entry.finished)
            meant = meant and (keys is None or entry.key in keys)
            if freed < excess and meant and (older_than is None or unused >= older_than):
                freed += self._drop(entry, dry_run)
        return freed

    def _drop(self, entry: StoreEntry, dry_run: bool) -> int:
        """Remove one entry unless it is locked or gone; the bytes freed."""
        try:
            with self._locked(entry.stage, entry.key, wait=False), writing(self.root):
                if not dry_run:
                    drop_apart(entry.path)
                    # Gone for everybody in one step, without a new folder: the disk may be full.
                    entry.path.rename(self.root / f".trash-{uuid.uuid4().hex}")
        except (_Busy, FileNotFoundError):
            return 0
        except BenchError:  # a store that cannot be written can still be looked at
            if not dry_run:
                raise
        for left in self.root.glob(".trash-*"):  # ours, and what a killed prune left
            shutil.rmtree(left, ignore_errors=True)
        return entry.bytes

    def _folder(self, stage: str, key: str) -> Path:
        if not _STAGE.fullmatch(stage) or not _KEY.fullmatch(key):
            raise ValueError(f"no artifact can be named {stage!r}/{key!r}: a stage in a-z0-9_-, a key of 64 hex digits")
        return self.root / stage / key

    def _finished_already(self, folder: Path, stage: str, key: str) -> bool:
        """Under the lock: is it there? Ends one killed just before its last step, drops a damaged one."""
        if folder.exists() and self._usable(folder, stage, key, "is made again", QUICK):
            return True
        _remove(folder)
        work = _partial(folder)
        if not work.is_dir() or work.is_symlink():
            _remove(work)
        if not (work / META).exists():
            return False
        if not _described(work, stage, key)[1]:
            _publish(work, folder)
            return True
        (work / META).unlink()
        return False

    @staticmethod
    def _usable(folder: Path, stage: str, key: str, what: str, read: int) -> dict[str, Any] | None:
        """meta.json of an artifact, None where it cannot be used; then the log says why, and `what` becomes of it.

        read: of files up to so many bytes the checksums are compared."""
        meta, fault = _described(folder, stage, key)
        if read and not fault:
            fault = changed(folder, meta, read) or ""
        if fault:
            log.warning("artifact %s/%s %s: %s", stage, key[:12], what, fault)
        return None if fault else meta

    @contextlib.contextmanager
    def _locked(self, stage: str, key: str, *, wait: bool = True) -> Iterator[None]:
        """Hold an artifact's lock. Raises _Busy where somebody else holds it and `wait` is False."""
        from filelock import FileLock, Timeout

        path = self.root / ".locks" / f"{stage}-{key}.lock"
        with writing(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not wait:
                    raise _Busy from None
                log.warning("another process is making %s %s: waiting for it", stage, key[:12])
                lock.acquire(poll_interval=0.2)
        try:
            yield
        finally:
            lock.release()


class _Busy(Exception):
    """An artifact is locked by somebody else."""


def _remove(path: Path) -> None:
    """Remove a folder; or a file or link, which does not belong there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _partial(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def _finish(making: ArtifactBuilder, folder: Path, about: Mapping[str, Any]) -> None:
    """Describe the work folder in meta.json and give it its final name."""
    files = [path for path in sorted(making.dir.rglob("*")) if path.is_file() and _counts(path, making.dir)]
    for path in files:
        sync(path)
    torch = sys.modules.get("torch")
    meta = {
        **about,
        "files": {path.relative_to(making.dir).as_posix(): path.stat().st_size for path in files},
        CHECKSUMS: checksums(making.dir, files),
        "seconds": round(making.seconds, 3),
        "peak_memory_mb": round(making.peak_memory_mb, 1),
        "threads": torch and int(torch.get_num_threads()),  # another number adds up in another order
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(making.dir / META, meta)
    _publish(making.dir, folder)


def _counts(path: Path, folder: Path) -> bool:
    """Is the file part of the artifact (and not of its making)?"""
    name = path.relative_to(folder)
    return name.parts[0] != SCRATCH and name.as_posix() not in (META, TIME) and not name.match(".*.tmp")


def _publish(work: Path, folder: Path) -> None:
    """The last step: a work folder that meta.json declares complete becomes the artifact, at once."""
    drop_apart(work)
    shutil.rmtree(work / SCRATCH, ignore_errors=True)
    (work / TIME).unlink(missing_ok=True)
    sync(work)
    work.rename(folder)
    sync(folder.parent)


def _described(folder: Path, stage: str, key: str) -> tuple[dict[str, Any], str]:
    """meta.json of a folder, read once, for another process may drop it; and why the folder is not the finished
    artifact, "" where it is."""
    try:
        meta = read_json(folder / META)
    except BenchError as error:
        return {}, str(error)
    if not isinstance(meta, dict):
        return {}, f"its {META} does not describe it"
    return meta, _fault(folder, meta, stage, key)


def _fault(folder: Path, meta: Mapping[str, Any], stage: str, key: str) -> str:
    """Why `folder` is not the finished artifact that its `meta` describes, "" where it is."""
    files = meta.get("files")
    if not isinstance(files, dict) or (meta.get("stage"), meta.get("key")) != (stage, key):
        return f"its {META} does not describe it"
    try:
        datetime.fromisoformat(meta["created"])
        costs = float(meta["seconds"]), float(meta.get("peak_memory_mb", 0))
        if not all(0 <= cost < math.inf for cost in costs):
            raise ValueError(costs)
    except (KeyError, TypeError, ValueError) as error:
        return f"its {META} is damaged: {error!r}"
    for name, size in files.items():
        try:
            found = (folder / name).stat().st_size
        except (OSError, ValueError):  # a name with a NUL
            return f"its file {ascii(name)[1:-1]} is missing"
        if found != size:
            return f"its file {name} has {found} bytes, expected {size}"
    return ""


def _entry(folder: Path, key: str) -> StoreEntry:
    stage = folder.parent.name
    described, fault = _described(folder, stage, key) if folder.name == key else ({}, "unfinished")
    finished = not fault
    stats = [each for each in map(_stat, work_of(folder)) if each and stat.S_ISREG(each.st_mode)]
    times = [each.st_mtime for each in stats] or [folder.stat().st_mtime]
    meta: dict[str, Any] = described if finished else {**earlier_time(folder)}
    return StoreEntry(
        stage=stage,
        key=key,
        path=folder,
        bytes=sum(each.st_size for each in stats),
        created=datetime.fromisoformat(meta["created"]) if finished else datetime.fromtimestamp(min(times), UTC),
        last_used=datetime.fromtimestamp(max(times), UTC),
        finished=finished,
        seconds=float(meta.get("seconds", 0.0)),
    )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
