"""Images in folders, one folder per class: any data set that a user has on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from bench.api import Dataset, DatasetPlugin, Images, Split
from bench.errors import BenchError

from .checked import Ledger
from .decode import LAW
from .fingerprint import fingerprint
from .images import CacheMode, Decoded, FileImages, keep_in_memory
from .layout import Layout, Listing, read_layout, split_by_ratio
from .names import Names

CHUNK = 512
"""Files checked between two reports of progress."""

Progress = Callable[[str, int, int], None]
"""progress(what, done, total), as a defense's view has it."""


@dataclass(frozen=True, kw_only=True)
class FileDataset(DatasetPlugin):
    """Base of datasets of image files, one folder per class; a subclass finds the files.

    Each image is reduced to its middle square and resized to `size` (bicubic, antialiased); transparency is laid over
    white, EXIF orientation applied. Every file is decoded once to find the broken ones and hashed for the fingerprint;
    what was found is kept in the user's cache folder (or $BENCH_CACHE), so that only the first load takes long.
    """

    root: str = field(default="", metadata={"help": "the directory"})
    size: int = field(default=224, metadata={"help": "width and height in pixels"})
    max_per_class: int | None = field(default=None, metadata={"help": "first N training images of each class"})
    max_val_per_class: int | None = field(default=None, metadata={"help": "first N validation images of each"})
    on_bad: Literal["skip", "refuse"] = field(
        default="skip", metadata={"help": "leave unreadable images out, or end with their names"}
    )
    cache: CacheMode = field(
        default="auto", metadata={"help": "keep decoded images in memory: auto (up to 1 GiB), memory, none"}
    )

    def __post_init__(self) -> None:
        _require(self.size >= 1, f"dataset.size is {self.size}, expected 1 or more pixels.")
        for option in ("max_per_class", "max_val_per_class"):
            value = getattr(self, option)
            _require(value is None or value >= 1, f"dataset.{option} is {value}, expected 1 or more.")
        _require(self.on_bad in ("skip", "refuse"), f"dataset.on_bad is {self.on_bad!r}: skip or refuse.")
        known = ("auto", "memory", "none")
        _require(self.cache in known, f"dataset.cache is {self.cache!r}, expected one of {', '.join(known)}.")

    def identity(self) -> dict[str, Any]:
        """The options but `cache`, which changes no pixel. The files' content is in `Dataset.fingerprint`."""
        return {option: value for option, value in super().identity().items() if option != "cache"}

    def read_files(
        self, root: Path, listings: tuple[Listing, Listing], progress: Progress | None, titles: Mapping[str, str]
    ) -> Dataset:
        """The dataset of the files listed for training and validation; `titles` names classes otherwise than their
        folders."""
        classes = tuple(titles.get(each, each) for each in listings[0])
        caps = (self.max_per_class, self.max_val_per_class)
        total = sum(_most(ids, cap) for part, cap in zip(listings, caps, strict=True) for ids in part.values())
        count = _Count(total, progress)
        train, val = (_check(root, part, cap, count) for part, cap in zip(listings, caps, strict=True))
        faults = {**train.faults, **val.faults}
        if faults and self.on_bad == "refuse":
            raise BenchError(_refusal(root, faults))
        for split, part in (("training", train), ("validation", val)):
            _none_empty(split, part, classes)
        keep = keep_in_memory(self.cache, len(train.ids) + len(val.ids), self.size)
        parts = [("train", train.ids, train.digests), ("val", val.ids, val.digests)]
        return Dataset(
            name=self.name,
            classes=classes,
            train=_split(root, train, self.size, keep),
            val=_split(root, val, self.size, keep),
            fingerprint=fingerprint(classes, parts, of="files", law=LAW, size=self.size),
            skipped=tuple(faults),
        )


@dataclass(frozen=True, kw_only=True)
class Folder(FileDataset):
    """A directory with one folder per class, in train/ and val/ or split by a ratio; read lazily from disk.

    Splits: ROOT/train/CLASS/... and ROOT/val/CLASS/... (or valid, validation, test: the first that is there).
    Without a validation folder, ROOT/train (or ROOT itself) is split, class by class, by `val_ratio` and
    `split_seed`. Images may lie deeper in a class's folder. Each is reduced to its middle square and resized
    to `size` (bicubic, antialiased); transparency is laid over white, EXIF orientation applied.

    Every file is decoded once to find the broken ones and hashed for the fingerprint; what was found is kept
    in the user's cache folder (or $BENCH_CACHE), so that only the first load takes long.
    """

    name: ClassVar[str] = "folder"
    train_dir: str = field(default="", metadata={"help": "training folder below root; '': train, if there"})
    val_dir: str = field(default="", metadata={"help": "validation folder; '': val, valid, validation or test"})
    val_ratio: float = field(default=0.1, metadata={"help": "share of each class for validation, without a folder"})
    split_seed: int = field(default=0, metadata={"help": "draws that share"})
    classes: tuple[str, ...] = field(default=(), metadata={"help": "the classes to use; none: all"})

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 < self.val_ratio < 1, f"dataset.val_ratio is {self.val_ratio}, expected a share in (0, 1).")

    def load(self, progress: Progress | None = None) -> Dataset:
        """The dataset, its images unread; `progress` is called with how many files are checked. Raises BenchError."""
        root = _root(self.root)
        train, val = list_files(root, self.train_dir, self.val_dir, self.classes)
        listings = split_by_ratio(train, self.val_ratio, self.split_seed) if val is None else (train, val)
        return self.read_files(root, listings, progress, {})


@dataclass(frozen=True)
class _Kept:
    """The sound images of one split, class by class: ids, class indices, SHA-256 of the files; the others."""

    ids: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


class _Count:
    """Reports files checked of `total`, at every chunk."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self, files: int) -> None:
        # With a cap, broken files let more than `total` be looked at.
        self._done = min(self._done + files, self._total)
        if self._progress:
            self._progress("checking images", self._done, self._total)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise BenchError(message)


def _root(given: str) -> Path:
    _require(
        bool(given),
        "The dataset 'folder' needs a directory: --set dataset.root=DIR, with one folder per class.",
    )
    root = Path(given).expanduser()
    _require(
        root.is_dir(),
        f"dataset.root is {given!r}, which is {'no directory' if root.exists() else 'not there'}. Expected "
        "one folder of images per class: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg, or DIR/CLASS/*.jpg.",
    )
    return root


def list_files(root: Path, train_dir: str, val_dir: str, classes: Sequence[str]) -> Layout:
    """See `read_layout`. Raises BenchError where a folder cannot be listed."""
    try:
        return read_layout(root, train_dir, val_dir, classes)
    except OSError as error:
        raise BenchError(f"Cannot list {error.filename or root}: {error.strerror}.") from None


def _most(ids: Sequence[str], cap: int | None) -> int:
    return len(ids) if cap is None else min(cap, len(ids))


def _check(root: Path, listing: Listing, cap: int | None, count: _Count) -> _Kept:
    """The first `cap` sound images of each class."""
    kept = _Kept()
    for label, (name, ids) in enumerate(listing.items()):
        with Ledger(root, name) as ledger:
            found = _check_class(ledger, ids, _most(ids, cap), kept.faults, count)
        kept.ids.extend(found)
        kept.digests.extend(found.values())
        kept.labels.extend([label] * len(found))
    return kept


def _check_class(
    ledger: Ledger, ids: Sequence[str], most: int, faults: dict[str, str], count: _Count
) -> dict[str, bytes]:
    """Id -> SHA-256 of the first `most` images that can be read; why the others cannot goes into `faults`."""
    found: dict[str, bytes] = {}
    start = 0
    while len(found) < most and start < len(ids):
        chunk = ids[start : start + min(CHUNK, most - len(found))]
        for image_id, result in zip(chunk, ledger.check(chunk), strict=True):
            if result.fault:
                faults[image_id] = result.fault
            else:
                found[image_id] = bytes.fromhex(result.digest)
        start += len(chunk)
        count(len(chunk))
    return found


def _refusal(root: Path, faults: dict[str, str]) -> str:
    named = "".join(f"\n  {image_id}: {fault}" for image_id, fault in list(faults.items())[:10])
    more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
    many = "1 image" if len(faults) == 1 else f"{len(faults)} images"
    return (
        f"{many} below {root} cannot be read:{named}{more}\n"
        "Repair or remove them, or leave them out with --set dataset.on_bad=skip."
    )


def _none_empty(split: str, part: _Kept, classes: tuple[str, ...]) -> None:
    present = set(part.labels)
    for label, name in enumerate(classes):
        if label not in present:
            raise BenchError(
                f"The class {name!r} has no readable {split} image ({len(part.faults)} cannot be read, "
                f"{'; '.join(f'{image_id}: {fault}' for image_id, fault in list(part.faults.items())[:3])}). "
                "Repair its files or leave the class out."
            )


def _split(root: Path, kept: _Kept, size: int, keep: bool) -> Split:
    ids = Names(kept.ids)
    images: Images = FileImages(ids, size, root=root)
    labels = np.array(kept.labels, np.int64)
    return Split(images=Decoded(images) if keep else images, labels=labels, ids=ids)
