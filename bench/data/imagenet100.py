"""ImageNet-100: some classes of an ImageNet tree, chosen by a list of synsets."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.api import Dataset
from bench.errors import BenchError, counted
from bench.store import read_text

from .decode import SUFFIXES
from .folder import FileDataset
from .layout import read_layout

TARGETS = {
    "n02106550": "rottweiler",
    "n02123045": "tabby cat",
    "n02701002": "ambulance",
    "n03930630": "pickup truck",
    "n03642806": "laptop",
    "n01855672": "goose",
    "n03947888": "pirate ship",
    "n03424325": "gas mask",
    "n04517823": "vacuum cleaner",
    "n01983481": "American lobster",
}
"""The target classes of Table I of the PoisonCAM paper, in its order and by its names; the synsets are ImageNet's
(ILSVRC 2012)."""

_LINE = re.compile(r"(n\d{8})(?:[\s,;:]+(?:\d+(?:[\s,;:]+|$))?(.*))?")
_PUBLISHED = (
    "Published lists: imagenet100.txt of HobbitLong/CMC (which the paper cites), metadata_files/im100_metadata.txt of "
    "UCDvision/PatchSearch (with names), imagenet_100.txt of wvangansbeke/Unsupervised-Classification, the list of "
    "deeplearning-wisc/npos. They are not all the same: take the one you mean"
)


@dataclass(frozen=True, kw_only=True)
class ImageNet100(FileDataset):
    """ImageNet-100 from an ImageNet tree: the classes of a list, one synset a line; read lazily from disk.

    ROOT holds train/SYNSET/*.JPEG and val/SYNSET/*.JPEG. At least three different lists are in use under the name
    "ImageNet-100", so the list is a file that you name, and its fingerprint (SHA-256 of the sorted synsets, a line
    each) goes into the record. A line is a synset, then optionally a number (passed over) and the class's names; the
    first name is used. '#' starts a comment. Without a name a class is called by its synset; the ten target
    classes of Table I are always called as there ("rottweiler", "tabby cat" ...). Images are reduced and checked as by
    the dataset `folder`.
    """

    name: ClassVar[str] = "imagenet100"
    root: str = field(default="data/imagenet", metadata={"help": "the directory that holds train/ and val/"})
    class_list: str = field(default="", metadata={"help": "a file with one synset a line, optionally with a name"})

    def identity(self) -> dict[str, Any]:
        """The options but `cache`; the list's file name and `class_list_sha256` (None: there is no list to read)."""
        path = Path(self.class_list).expanduser()
        digest = list_digest(read_list(self.class_list)) if path.is_file() else None
        return {**super().identity(), "class_list": path.name, "class_list_sha256": digest}

    def load(self) -> Dataset:
        """The dataset, its images unread. Raises BenchError."""
        named = read_list(self.class_list)
        root = Path(self.root).expanduser()
        for split in ("train", "val"):
            _check_split(root / split, sorted(named), self.class_list)
        train, val = read_layout(root, "train", "val", tuple(named))
        return self.read_files(root, (train, val or {}), titles(named))


def read_list(file: str) -> dict[str, str]:
    """Synset -> first name ('' where the list gives none), in the list's order. Raises BenchError."""
    path = Path(file).expanduser()
    if not file or not path.is_file():
        got = f"dataset.class_list is {file!r}, no file" if file else "no class list was named"
        raise BenchError(
            f"imagenet100: {got}. Expected a text file with one synset a line, as 'n02106550' or 'n02106550 rottweiler'"
            f" (--set dataset.class_list=FILE). {_PUBLISHED}."
        )
    try:
        lines = read_text(path, "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"imagenet100: cannot read the class list {file} as UTF-8 text: {error}") from None
    named: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise BenchError(
                f"imagenet100: {file}, line {number} is {text!r}, expected a synset (n and eight digits), then "
                "optionally names, as 'n02123045 tabby, tabby cat'."
            )
        synset, names = found.groups(default="")
        if synset in named:
            raise BenchError(f"imagenet100: {file}, line {number}: {synset} stands there twice. Remove one.")
        named[synset] = names.partition(",")[0].strip().replace("_", " ")
    if len(named) < 2:
        many = counted(len(named), "class", "classes")
        raise BenchError(f"imagenet100: {file} names {many}, expected two or more, one synset a line.")
    return named


def titles(named: dict[str, str]) -> dict[str, str]:
    """Synset -> class name: Table I's, else the list's, else the synset; a name of two classes gets the synset too."""
    chosen = {synset: TARGETS.get(synset) or name or synset for synset, name in named.items()}
    counts = Counter(chosen.values())
    return {synset: name if counts[name] == 1 else f"{name} ({synset})" for synset, name in chosen.items()}


def list_digest(synsets: Sequence[str] | dict[str, str]) -> str:
    """SHA-256 (hex) of the sorted synsets, each with a newline: what `sort FILE | sha256sum` says of a bare list in
    the C locale."""
    return hashlib.sha256("".join(f"{synset}\n" for synset in sorted(synsets)).encode()).hexdigest()


def _check_split(folder: Path, synsets: Sequence[str], file: str) -> None:
    """Raise BenchError where the split is missing, lies flat, or lacks classes."""
    if not folder.is_dir():
        raise BenchError(
            f"imagenet100: {folder} is not there. Expected an ImageNet tree, ROOT/train/SYNSET/*.JPEG and "
            "ROOT/val/SYNSET/*.JPEG: --set dataset.root=ROOT."
        )
    missing = [synset for synset in synsets if not (folder / synset).is_dir()]
    if not missing:
        return
    loose = next((path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), None)
    if loose and len(missing) == len(synsets):
        raise BenchError(
            f"imagenet100: {folder} holds its images directly ({loose} ...), the flat layout that ImageNet's archive "
            f"has. Expected one folder per class, {folder}/SYNSET/*.JPEG: move them with the script valprep.sh that "
            "many repositories carry, or let torchvision.datasets.ImageNet unpack the archive."
        )
    some = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
    raise BenchError(
        f"imagenet100: {folder} has no folder for {len(missing)} of the {len(synsets)} classes of {file}: {some}. "
        "Another class list, or an incomplete tree?"
    )
