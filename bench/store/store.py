"""The artifact store: what a stage made lies under a hash of everything that decided it.

Layout: `<root>/<stage>/<key>/` holds a finished artifact and its `meta.json`; `<key>.partial/` beside it is
the work folder of an unfinished one, which outlives a kill so that checkpoints in it can be resumed.
`<root>/.locks/` holds one lock file per artifact: whoever makes or prunes it holds that lock; readers need
none, because a finished folder appears in one step. Nothing is ever pickled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays
from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

META, TIME, SCRATCH = "meta.json", "time.json", "scratch"
_STAGE = re.compile(r"[a-z0-9][a-z0-9_-]*")
_KEY = re.compile(r"[0-9a-f]{64}")
_STEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TICK = 1.0  # seconds between two writes of time.json: what a SIGKILL may lose of the clock

_FULL = "the disk (or quota) is full: free some space (`bench store prune` helps) and start again"
_MENDS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "the file is larger than is allowed here: raise the file size limit (ulimit -f)",
    errno.EROFS: "it lies on a read-only file system: choose a folder that can be written",
    errno.EACCES: "permission denied: choose a folder that you may write, or have its owner allow it",
    errno.EPERM: "operation not permitted: choose a folder that you may write",
    errno.ENOTDIR: "part of the path is a file, not a folder: choose another folder",
    errno.EEXIST: "part of the path is a file, not a folder: choose another folder",
}
_ANYWHERE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BELOW = {errno.EROFS, errno.EACCES, errno.EPERM}


# --- errors ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing(path: Path, *, only_below: bool = False) -> Iterator[None]:
    """Turn an OSError that a user can mend (full disk, read-only, no permission) into a BenchError.

    `only_below`: leave permission errors about files outside `path` alone: they come from somebody's reading.
    """
    try:
        yield
    except Exception as error:
        number = _number(error)
        mend = _MENDS.get(number)
        if mend is None or (only_below and not _concerns(error, number, path)):
            raise
        raise BenchError(f"cannot write {path}: {mend}") from error


def _number(error: Exception) -> int:
    """The system's error number, 0 where there is none; safetensors hides it in its own error's text."""
    if isinstance(error, OSError):
        return error.errno or 0
    hidden = re.search(r"os error (\d+)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(hidden[1]) if hidden else 0


def _concerns(error: Exception, number: int, root: Path) -> bool:
    if number in _ANYWHERE:
        return True
    name = getattr(error, "filename", None)
    return number in _BELOW and isinstance(name, str | os.PathLike) and Path(name).is_relative_to(root)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


# --- canonical JSON -------------------------------------------------------------------------------


def check_json(value: object, where: str = "value") -> None:
    """Raise BenchError naming the place where `value` is not plain JSON (string keys, finite numbers)."""
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BenchError(f"{where} is {value}; expected a finite number, or null where it is undefined")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BenchError(f"{where} has the key {key!r} ({type(key).__name__}); expected a string")
            check_json(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_json(item, f"{where}[{index}]")
    else:
        raise BenchError(
            f"{where} is a {type(value).__module__}.{type(value).__name__}; expected JSON "
            "(dict, list, str, int, float, bool or None)"
        )


def canonical(value: object, where: str = "value") -> str:
    """The one JSON text of `value`: sorted keys, no spaces, ASCII, no NaN. Equal values give equal texts."""
    check_json(value, where)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object, where: str = "value") -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value, where).encode()).hexdigest()


def key_of(stage: str, version: str | int, config: Any, inputs: Mapping[str, str]) -> str:
    """The key (SHA-256, hex) of what `stage` makes: from its code version, own config and inputs' keys."""
    decides = {"stage": stage, "version": version, "config": config, "inputs": dict(inputs)}
    return digest(decides, f"stage {stage}")


# --- files, whole or not at all -------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes `path`'s place in one step.

    After an error nothing is left, and what was at `path` is untouched. Raises BenchError as `writing` does.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _sync(path: Path) -> None:
    """Flush a file, or (where the system can) a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_can_write(path: Path) -> None:
    """Raise BenchError where no file could be written to `path`: found out before the work, not after it."""
    if path.is_dir():
        raise BenchError(f"cannot write {path}: it is a folder")
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if there != path.absolute() and not there.is_dir():
        raise BenchError(f"cannot write {path}: {there} is no folder")
    if not os.access(there, os.W_OK):
        raise BenchError(f"cannot write {path}: permission denied on {there}")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, atomically: sorted keys, two spaces of indent, a closing newline, no NaN."""
    check_json(value, path.name)
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON in `path`. Raises BenchError where it is missing, unreadable or not JSON (NaN is not)."""
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"cannot read {path} as JSON: {error}") from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as an uncompressed npz, atomically; equal arrays give equal bytes.

    Raises BenchError for an object array: it would need pickle.
    """
    for name, array in arrays.items():
        known = isinstance(array, np.ndarray | np.generic)
        if not isinstance(name, str) or not known or array.dtype.hasobject:
            kind = array.dtype if known else type(array).__name__
            raise BenchError(f"array {name!r} of {path.name} is {kind}; expected a named NumPy array without objects")
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy")  # ZipInfo's date is fixed (1980), its system is not
            entry.create_system = 3
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(arrays[name], order="C"), allow_pickle=False)


def read_arrays(path: Path) -> Arrays:
    """The arrays of an npz. Raises BenchError where it is missing, damaged or holds objects."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BenchError(f"cannot read the arrays in {path}: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors, atomically; any device, any layout, tied ones are written twice."""
    from safetensors.torch import save_file

    plain = _untied(tensors)
    with replacing(path) as temporary:
        save_file(plain, temporary)


def _untied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous; those that share memory with an earlier one are copied."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        memory = flat.untyped_storage().data_ptr()
        plain[name] = flat.clone() if memory in seen else flat
        seen.add(memory)
    return plain


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file, on `device`. Raises BenchError where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path, device=device))
    except (OSError, SafetensorError) as error:
        raise BenchError(f"cannot read the tensors in {path}: {error}") from error


class StepCache:
    """Named results of steps, kept in a folder: a killed run finds there what it had already computed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def step(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """`compute()`'s arrays, computed once and read from `<folder>/<name>.npz` ever after.

        A damaged file is computed anew. Raises BenchError for object arrays and for a name unfit for a file.
        """
        if not _STEP.fullmatch(name):
            raise BenchError(f"a step is named {name!r}; expected letters, digits, '.', '_' or '-'")
        path = self.folder / f"{name}.npz"
        if path.exists():
            try:
                return read_arrays(path)
            except BenchError as error:
                log.warning("step %s is computed again: %s", name, error)
        write_arrays(path, compute())
        return read_arrays(path)  # what a resumed run would see, to the last detail


# --- the clock and the memory of one making -------------------------------------------------------


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def highest_mb() -> float:
    """The process's peak resident memory in MiB (where the system keeps none: what is resident now)."""
    try:
        import resource
    except ImportError:
        return _resident_mb()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class ArtifactBuilder:
    """One artifact in the making: write it into `dir`, and what only a resumed attempt needs into `scratch`.

    `finished`: it had been made already (while we waited, say): `dir` is the artifact, nothing is to be done.
    """

    def __init__(self, folder: Path, *, finished: bool = False) -> None:
        self.dir = folder
        self.finished = finished
        before = {} if finished else _earlier(folder)
        self._seconds: float = before.get("seconds", 0.0)
        self._peak: float = before.get("peak_memory_mb", 0.0)
        self._highest_at_start = highest_mb()
        self._start = self._written = time.monotonic()

    @property
    def scratch(self) -> Path:
        """A folder that lives as long as the work folder and is dropped when the artifact is finished."""
        folder = self.dir / SCRATCH
        with writing(folder):
            folder.mkdir(exist_ok=True)
        return folder

    @property
    def seconds(self) -> float:
        """Wall time spent so far, all attempts together (a killed one counts up to its last tick)."""
        return self._seconds + time.monotonic() - self._start

    @property
    def peak_memory_mb(self) -> float:
        """Peak resident memory of this process while it made the artifact, in MiB, over all attempts.

        Exact where this making set the process's record, else the highest seen at a tick. Of child processes only those
        that were reported (`add_memory`) count, and accelerators do not.
        """
        highest = highest_mb()
        seen = highest if highest > self._highest_at_start else _resident_mb()
        self._peak = max(self._peak, seen)
        return self._peak

    def add_memory(self, peak_mb: float) -> None:
        """A process that worked for this artifact had a peak of so many MiB."""
        self._peak = max(self._peak, peak_mb)

    def tick(self) -> None:
        """Still alive: keep the clock and the memory peak on disk. Cheap; call it as often as you like."""
        if not self.finished and time.monotonic() - self._written >= _TICK:
            self.save_time()

    def abandon(self) -> None:
        """Leave what a next attempt can use: the clock beside the files, or nothing at all where there are none."""
        if any(path.is_file() and path.name != TIME for path in self.dir.rglob("*")):
            self.save_time()
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def save_time(self) -> None:
        """Write the clock now. A failure is passed over: the clock alone must not end a run."""
        self._written = time.monotonic()
        temporary = self.dir / f".{TIME}.{os.getpid()}.tmp"
        text = json.dumps({"seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb})
        with contextlib.suppress(OSError):
            temporary.write_text(text)
            temporary.replace(self.dir / TIME)


def _earlier(folder: Path) -> dict[str, float]:
    """What earlier attempts left in time.json: non-negative numbers only."""
    try:
        found = read_json(folder / TIME)
    except BenchError:
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {name: float(value) for name, value in items if isinstance(value, int | float) and value >= 0}


# --- the store ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
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
        write_bytes(probe, b"\0" * 4096)
        with writing(self.root):
            probe.unlink()
        free = shutil.disk_usage(self.root).free
        if free < need_bytes:
            raise BenchError(
                f"the store {self.root} has {free / 2**20:.0f} MiB left, this run needs about "
                f"{need_bytes / 2**20:.0f}: free some space (`bench store prune` helps)"
            )

    def find(self, stage: str, key: str, *, touch: bool = True) -> Path | None:
        """The folder of a finished artifact, else None (a damaged one counts as not there; the log says why).

        `touch` marks it as used now, which `prune` goes by.
        """
        folder = self._folder(stage, key)
        if not _exists(folder):
            return None
        fault = _fault(folder, stage, key)
        if fault is not None:
            log.warning("artifact %s/%s is not used: %s", stage, key[:12], fault)
            return None
        if touch:
            with contextlib.suppress(OSError):  # a read-only store can still be read
                os.utime(folder / META)
        return folder

    def meta(self, stage: str, key: str) -> dict[str, Any] | None:
        """meta.json of a finished artifact, None where `find` finds none.

        Its keys: stage, key, version, config, inputs, files, seconds, peak_memory_mb, created.
        """
        folder = self.find(stage, key, touch=False)
        return None if folder is None else dict(read_json(folder / META))

    @contextlib.contextmanager
    def open(
        self,
        stage: str,
        key: str,
        *,
        version: str | int = "",
        config: Any = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Iterator[ArtifactBuilder]:
        """Make an artifact under its lock: the block's end finishes it, an exception keeps the work folder.

        Waits while another process makes the same one, and then yields it with `finished` set. `version`,
        `config` and `inputs` (what `key_of` was given) are written to meta.json for people. Not reentrant:
        a block must not open its own artifact. Raises BenchError where the store cannot be written.
        """
        folder = self._folder(stage, key)
        about = {"stage": stage, "key": key, "version": version, "config": config}
        about["inputs"] = dict(inputs or {})
        with self._locked(stage, key), writing(self.root, only_below=True):
            if self._finished_already(folder, stage, key):
                yield ArtifactBuilder(folder, finished=True)
                return
            making = ArtifactBuilder(_work_folder(folder))
            try:
                yield making
            except BaseException:
                making.abandon()
                raise
            _finish(making, folder, about)

    def make(
        self,
        stage: str,
        key: str,
        produce: Callable[[ArtifactBuilder], object],
        *,
        version: str | int = "",
        config: Any = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Path:
        """The finished artifact's folder; `produce(making)` is called only where it is not there yet."""
        found = self.find(stage, key)
        if found is not None:
            return found
        with self.open(stage, key, version=version, config=config, inputs=inputs) as making:
            if not making.finished:
                produce(making)
        return self._folder(stage, key)

    def entries(self) -> list[Entry]:
        """Everything in the store, finished or not, by stage and key."""
        found = []
        for folder in sorted(self.root.glob("[!.]*/*")):
            key, _, rest = folder.name.partition(".")
            if _KEY.fullmatch(key) and rest in ("", "partial") and folder.is_dir():
                with contextlib.suppress(FileNotFoundError):  # pruned or finished while we look
                    found.append(_entry(folder, key))
        return found

    def prune(
        self,
        *,
        older_than: float | None = None,
        max_bytes: int | None = None,
        stage: str | None = None,
        partial: bool = False,
        dry_run: bool = False,
    ) -> int:
        """Drop artifacts; the bytes freed (`dry_run`: that would be). What is being made is never dropped.

        The conditions add up: not used for `older_than` seconds; of that `stage`; `partial`: only
        unfinished ones. With `max_bytes`, the longest unused of those go until the whole store holds no
        more than that. At least one condition must be given (`older_than=0` means everything).
        """
        if older_than is None and max_bytes is None and stage is None and not partial:
            raise BenchError("say what to prune: an age, a size to shrink to, a stage, or unfinished work")
        entries = sorted(self.entries(), key=lambda entry: entry.last_used)
        chosen = [
            entry
            for entry in entries
            if (stage is None or entry.stage == stage)
            and not (partial and entry.finished)
            and (older_than is None or _unused_for(entry) >= older_than)
        ]
        excess = math.inf if max_bytes is None else sum(entry.bytes for entry in entries) - max_bytes
        freed = 0
        for entry in chosen:
            if freed >= excess:
                break
            freed += self._drop(entry, dry_run)
        return freed

    def _drop(self, entry: Entry, dry_run: bool) -> int:
        """Remove one entry unless it is locked or gone; the bytes freed."""
        try:
            with self._locked(entry.stage, entry.key, wait=False), writing(self.root):
                if not dry_run:  # gone for everybody in one step, without a new folder: the disk may be full
                    entry.path.rename(self.root / f".trash-{uuid.uuid4().hex}")
        except (_Busy, FileNotFoundError):
            return 0
        for left in self.root.glob(".trash-*"):  # ours, and what a killed prune left
            shutil.rmtree(left, ignore_errors=True)
        return entry.bytes

    def _folder(self, stage: str, key: str) -> Path:
        if not _STAGE.fullmatch(stage) or not _KEY.fullmatch(key):
            raise ValueError(f"no artifact can be named {stage!r}/{key!r}: a stage in a-z0-9_-, a key of 64 hex digits")
        return self.root / stage / key

    def _finished_already(self, folder: Path, stage: str, key: str) -> bool:
        """Under the lock: is it there? Ends one killed just before its last step, drops a damaged one."""
        if folder.exists():
            fault = _fault(folder, stage, key)
            if fault is None:
                return True
            log.warning("artifact %s/%s is made again: %s", stage, key[:12], fault)
            shutil.rmtree(folder)
        work = _partial(folder)
        if not (work / META).exists():
            return False
        if _fault(work, stage, key) is None:
            _publish(work, folder)
            return True
        (work / META).unlink()
        return False

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


def _exists(folder: Path) -> bool:
    """Whether it is there and can be seen; what a store forbids us to see is found out when it is written."""
    try:
        return folder.is_dir()
    except OSError:
        return False


def _partial(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def _work_folder(folder: Path) -> Path:
    """The work folder of an artifact, made where missing, without a killed attempt's half-written files."""
    work = _partial(folder)
    work.mkdir(parents=True, exist_ok=True)
    for left in work.rglob(".*.tmp"):
        left.unlink(missing_ok=True)
    return work


def _finish(making: ArtifactBuilder, folder: Path, about: Mapping[str, Any]) -> None:
    """Describe the work folder in meta.json and give it its final name."""
    files = [path for path in sorted(making.dir.rglob("*")) if path.is_file() and _counts(path, making.dir)]
    for path in files:
        _sync(path)
    meta = {
        **about,
        "files": {path.relative_to(making.dir).as_posix(): path.stat().st_size for path in files},
        "seconds": round(making.seconds, 3),
        "peak_memory_mb": round(making.peak_memory_mb, 1),
        "threads": _threads(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(making.dir / META, meta)
    _publish(making.dir, folder)


def _threads() -> int | None:
    """Threads of torch in this process, where it is loaded: another number adds up in another order."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _counts(path: Path, folder: Path) -> bool:
    """Is the file part of the artifact (and not of its making)?"""
    name = path.relative_to(folder)
    return name.parts[0] != SCRATCH and name.as_posix() not in (META, TIME) and not name.match(".*.tmp")


def _publish(work: Path, folder: Path) -> None:
    """The last step: a work folder that meta.json declares complete becomes the artifact, at once."""
    shutil.rmtree(work / SCRATCH, ignore_errors=True)
    (work / TIME).unlink(missing_ok=True)
    _sync(work)
    work.rename(folder)
    _sync(folder.parent)


def _fault(folder: Path, stage: str, key: str) -> str | None:
    """Why `folder` is not the finished artifact, or None where it is."""
    try:
        meta = read_json(folder / META)
    except BenchError as error:
        return str(error)
    files = meta.get("files") if isinstance(meta, dict) else None
    if not isinstance(files, dict) or (meta.get("stage"), meta.get("key")) != (stage, key):
        return f"its {META} does not describe it"
    try:
        float(meta["seconds"]), datetime.fromisoformat(meta["created"])
    except (KeyError, TypeError, ValueError) as error:
        return f"its {META} is damaged: {error!r}"
    return _missing_file(folder, files)


def _missing_file(folder: Path, files: Mapping[str, object]) -> str | None:
    for name, size in files.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            return f"its file {name} is missing"
        if found != size:
            return f"its file {name} has {found} bytes, expected {size}"
    return None


def _unused_for(entry: Entry) -> float:
    """Seconds since its last use; a clock ahead of ours counts as now."""
    return max(0.0, time.time() - entry.last_used.timestamp())


def _entry(folder: Path, key: str) -> Entry:
    stage, finished = folder.parent.name, folder.name == key
    finished = finished and _fault(folder, stage, key) is None
    stats = list(_stats(folder))
    newest = max((stat.st_mtime for stat in stats), default=folder.stat().st_mtime)
    oldest = min((stat.st_mtime for stat in stats), default=folder.stat().st_mtime)
    meta: dict[str, Any] = read_json(folder / META) if finished else {**_earlier(folder)}
    return Entry(
        stage=stage,
        key=key,
        path=folder,
        bytes=sum(stat.st_size for stat in stats),
        created=datetime.fromisoformat(meta["created"]) if finished else datetime.fromtimestamp(oldest, UTC),
        last_used=datetime.fromtimestamp(newest, UTC),
        finished=finished,
        seconds=float(meta.get("seconds", 0.0)),
    )


def _stats(folder: Path) -> Iterator[os.stat_result]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                yield path.stat()
