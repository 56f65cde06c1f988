"""Images in folders, one folder per class: any data set that a user has on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from .kept import Kept, examine
from .layout import Listing, read_layout, split_by_ratio
from .masks import with_masks
from .names import Names
from .stickers import with_stickers

CHUNK = 512
"""Files checked at once."""


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

    def read_files(self, root: Path, listings: tuple[Listing, Listing], titles: Mapping[str, str]) -> Dataset:
        """The dataset of the files listed for training and validation; `titles` names classes otherwise than their
        folders."""
        classes = tuple(titles.get(each, each) for each in listings[0])
        train, val = self.check(listings, lambda name: Ledger(root, name))
        return self.assemble(classes, train, val, f"below {root}", lambda _, ids: FileImages(ids, self.size, root=root))

    def check(self, listings: tuple[Listing, Listing], open_ledger: Callable[[str], Ledger]) -> tuple[Kept, Kept]:
        """The images of both splits that are sound, by the ledger of each class."""
        caps = (self.max_per_class, self.max_val_per_class)
        train, val = (_check(listing, cap, open_ledger) for listing, cap in zip(listings, caps, strict=True))
        return train, val

    def assemble(
        self,
        classes: tuple[str, ...],
        train: Kept,
        val: Kept,
        place: str,
        images: Callable[[str, Names], Images],
    ) -> Dataset:
        """The dataset of what was kept; `images` makes those of "train" or "val" from their ids. place: where they are,
        in words. Raises BenchError as `examine`."""
        examine(train, val, classes, self.on_bad, place)
        keep = keep_in_memory(self.cache, len(train.ids) + len(val.ids), self.size)
        parts = [("train", train.ids, train.digests), ("val", val.ids, val.digests)]
        splits = []
        for name, kept in (("train", train), ("val", val)):
            ids = Names(kept.ids)
            opened = images(name, ids)
            labels = np.array(kept.labels, np.int64)
            splits.append(Split(images=Decoded(opened) if keep else opened, labels=labels, ids=ids))
        return Dataset(
            name=self.name,
            classes=classes,
            train=splits[0],
            val=splits[1],
            fingerprint=fingerprint(classes, parts, of="files", law=LAW, size=self.size),
            skipped=(*train.faults, *val.faults),
        )


@dataclass(frozen=True, kw_only=True)
class Folder(FileDataset):
    """A directory with one folder per class, in train/ and val/ or split by a ratio; read lazily from disk.

    Splits: ROOT/train/CLASS/... and ROOT/val/CLASS/... (or valid, validation, test: the first that is there).
    Without a validation folder, ROOT/train (or ROOT itself) is split, class by class, by `val_ratio` and
    `split_seed`. Images may lie deeper in a class's folder. Each is reduced to its middle square and resized
    to `size` (bicubic, antialiased); transparency is laid over white, EXIF orientation applied. With `masks`, a PNG
    of an image's name (with the folders below `root`) and shape shows its object white on black: for attacks that cut
    objects out.

    Every file is decoded once to find the broken ones and hashed for the fingerprint; what was found is kept
    in the user's cache folder (or $BENCH_CACHE), so that only the first load takes long.
    """

    name: ClassVar[str] = "folder"
    train_dir: str = field(default="", metadata={"help": "training folder below root; '': train, if there"})
    val_dir: str = field(default="", metadata={"help": "validation folder; '': val, valid, validation or test"})
    val_ratio: float = field(default=0.1, metadata={"help": "share of each class for validation, without a folder"})
    split_seed: int = field(default=0, metadata={"help": "draws that share"})
    classes: tuple[str, ...] = field(default=(), metadata={"help": "the classes to use; none: all"})
    masks: str = field(
        default="", metadata={"help": "a folder with a mask for the training image CLASS/NAME.jpg at CLASS/NAME.png"}
    )
    stickers: float = field(
        default=0.0, metadata={"help": "share of the images that get a sticker, a mosaic no other has, in [0, 1]"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 < self.val_ratio < 1, f"dataset.val_ratio is {self.val_ratio}, expected a share in (0, 1).")
        _require(0 <= self.stickers <= 1, f"dataset.stickers is {self.stickers}, expected a share in [0, 1].")

    def identity(self) -> dict[str, Any]:
        """As of every dataset of files; `masks` and `stickers` only where there are some."""
        later = ("masks", "stickers")
        return {option: value for option, value in super().identity().items() if option not in later or value}

    def load(self) -> Dataset:
        """The dataset, its images unread. Raises BenchError."""
        root = Path(self.root).expanduser()
        _require(
            bool(self.root),
            "The dataset 'folder' needs a directory: --set dataset.root=DIR, with one folder per class.",
        )
        _require(
            root.is_dir(),
            f"dataset.root is {self.root!r}, which is {'no directory' if root.exists() else 'not there'}. Expected "
            "one folder of images per class: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg, or DIR/CLASS/*.jpg.",
        )
        train, val = read_layout(root, self.train_dir, self.val_dir, self.classes)
        listings = split_by_ratio(train, self.val_ratio, self.split_seed) if val is None else (train, val)
        data = self.read_files(root, listings, {})
        data = with_masks(data, self.masks) if self.masks else data
        return with_stickers(data, self.stickers) if self.stickers else data


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise BenchError(message)


def _check(listing: Listing, cap: int | None, open_ledger: Callable[[str], Ledger]) -> Kept:
    """The first `cap` sound images of each class; why the others before them cannot be read."""
    kept = Kept()
    for label, (name, ids) in enumerate(listing.items()):
        left, start = len(ids) if cap is None else cap, 0
        with open_ledger(name) as ledger:
            while left > 0 and start < len(ids):
                chunk = ids[start : start + min(CHUNK, left)]
                start += len(chunk)
                for image_id, result in zip(chunk, ledger.check(chunk), strict=True):
                    left -= kept.add(image_id, label, result)
    return kept
