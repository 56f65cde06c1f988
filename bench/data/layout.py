"""Finding splits, classes and image files below a folder. Nothing is read but directory listings."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError, nearest
from bench.seeds import Seeds

from .decode import SUFFIXES

VAL_NAMES = ("val", "valid", "validation", "test")
"""Names of the validation folder; the first one there is taken."""

Listing = dict[str, list[str]]
"""Class name -> ids of its images: POSIX paths relative to the root, sorted."""


Layout = tuple[Listing, Listing | None]
"""The images of the training and the validation folder (None: there is none, split the first)."""


def read_layout(root: Path, train_dir: str, val_dir: str, classes: Sequence[str]) -> Layout:
    """The images below `root`.

    An empty `train_dir` or `val_dir` means the usual names; no `classes` means all. Raises BenchError, also where a
    folder cannot be listed.
    """
    try:
        return _read_layout(root, train_dir, val_dir, classes)
    except OSError as error:
        raise BenchError(f"Cannot list {error.filename or root}: {error.strerror}.") from None


def _read_layout(root: Path, train_dir: str, val_dir: str, classes: Sequence[str]) -> Layout:
    train = _split_folder(root, train_dir, ("train",))
    val = _split_folder(root, val_dir, VAL_NAMES)
    if val is not None and train is None:
        raise BenchError(
            f"{root} holds {val.name}/ but no train/: put the training images into {root / 'train'}/CLASS/, "
            "or name their folder with --set dataset.train_dir=NAME."
        )
    first = read_split(root, train or root, classes)
    if val is None:
        return first, None
    if train is not None and train.resolve() == val.resolve():
        raise BenchError(f"Training and validation are the same folder, {train}: name two.")
    second = read_split(root, val, classes)
    parts = [
        f"only in {folder}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for folder, names in ((train or root, sorted(first.keys() - second)), (val, sorted(second.keys() - first)))
        if names
    ]
    if parts:
        raise BenchError(
            f"The classes of training and validation differ: {'; '.join(parts)}. "
            "Add or remove them, or choose among the common ones with --set dataset.classes=..."
        )
    return first, second


def read_split(root: Path, folder: Path, classes: Sequence[str] = ()) -> Listing:
    """The classes of one split (a folder each, sorted) and their images. BenchError where one is empty."""
    names = [entry.name for entry in _folders(folder)]
    _all_utf8(names)
    if classes:
        for name in classes:
            if name not in names:
                raise BenchError(f"{folder} has no class {name!r}.{nearest(name, names)}")
        names = sorted(set(classes))
    if len(names) < 2:
        found = f"one class ({names[0]})" if names else "no class folder"
        loose = not names and any(_is_image(path.name) for path in folder.iterdir())
        hint = " Its images lie in it directly." if loose else ""
        raise BenchError(f"{folder}: {found}, expected two or more, one folder of images per class.{hint}")
    return {name: _list_class(root, folder / name) for name in names}


def split_by_ratio(listing: Listing, ratio: float, seed: int) -> tuple[Listing, Listing]:
    """Training and validation ids: of each class, round(ratio x n) images, 1 to n - 1, are for validation.

    Where an image goes depends on the seed and its id alone: the same on every machine and for every NumPy.
    """
    train: Listing = {}
    val: Listing = {}
    for name, ids in listing.items():
        if len(ids) < 2:
            raise BenchError(f"The class {name!r} has one image; to be split it needs two. Add some or remove it.")
        many = min(max(round(ratio * len(ids)), 1), len(ids) - 1)
        drawn = set(sorted(ids, key=lambda one: Seeds(seed, "folder", "split", one).value)[:many])
        train[name] = [one for one in ids if one not in drawn]
        val[name] = sorted(drawn)
    return train, val


def _split_folder(root: Path, given: str, usual: Sequence[str]) -> Path | None:
    if given:
        if not (root / given).is_dir():
            known = [entry.name for entry in _folders(root)]
            raise BenchError(f"{root} has no folder {given!r}.{nearest(given, known)}")
        return root / given
    return next((root / name for name in usual if _is_split(root / name)), None)


def _is_split(folder: Path) -> bool:
    """A split holds folders and no images: a class may be called "train" or "test", too."""
    if not folder.is_dir() or not _folders(folder):
        return False
    return not any(_is_image(path.name) for path in folder.iterdir())


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.is_dir() and not _is_hidden(entry.name)]
    return sorted(found, key=lambda entry: entry.name)


def _is_hidden(name: str) -> bool:
    """Folders and files that systems leave about (.git, ._0001.jpg, __MACOSX)."""
    return name.startswith((".", "__"))


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")  # noqa: PTH122 - a million


def _list_class(root: Path, folder: Path) -> list[str]:
    files = list(walk(folder))
    _all_utf8(files)
    prefix = folder.relative_to(root).as_posix()
    images = sorted(f"{prefix}/{name}" for name in files if _is_image(name.rpartition("/")[2]))
    if not images:
        counts = Counter(Path(name).suffix.lower() or "no suffix" for name in files)
        kinds = ", ".join(kind for kind, _ in counts.most_common(3))
        others = f" ({len(files)} other files: {kinds}; known are {', '.join(sorted(SUFFIXES))})" if files else ""
        raise BenchError(f"The class folder {folder} holds no image{others}. Fill or remove it.")
    return images


def _all_utf8(names: Sequence[str]) -> None:
    """An id is text that goes into records: a name in another encoding would not survive that."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BenchError(f"The name {name!r} is not valid UTF-8. Rename that file or folder.") from None


def walk(folder: Path) -> Iterator[str]:
    """Files at any depth, as POSIX paths relative to `folder`. Links to folders are followed, each once."""
    visited = {os.path.realpath(folder)}
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        real = {os.path.realpath(Path(here, name)): name for name in folders if not _is_hidden(name)}
        folders[:] = [name for place, name in real.items() if place not in visited]  # only links lead to one again
        visited.update(real)
        prefix = Path(here).relative_to(folder).as_posix()
        yield from (name if prefix == "." else f"{prefix}/{name}" for name in files)


def _raise(error: OSError) -> None:
    """os.walk passes over folders that it may not list; images would be missing without a word."""
    raise error
