"""Finding splits, classes and image files below a folder. Nothing is read but directory listings."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import normalize

from bench.errors import BenchError, nearest
from bench.seeds import Seeds

from .decode import SUFFIXES, may_be_image, suffix_of

log = logging.getLogger(__name__)
VAL_NAMES = ("val", "valid", "validation", "test")
"""Names of the validation folder; the first one there is taken."""

Listing = dict[str, list[str]]
"""Class name -> ids of its images: POSIX paths relative to the root, sorted. A name is in Unicode's composed form
(NFC): macOS writes "\u00e9" as "e" and an accent (NFD), and what was copied between systems has both forms."""

LITTER = frozenset({"thumbs.db", "desktop.ini"})
"""Files that systems leave about without a dot before their names."""


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
    places: dict[str, str] = {}
    first = read_split(root, train or root, classes, places)
    if val is None:
        return first, None
    if train is not None and train.resolve() == val.resolve():
        raise BenchError(f"Training and validation are the same folder, {train}: name two.")
    second = read_split(root, val, classes, places)
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


def read_split(root: Path, folder: Path, classes: Sequence[str], places: dict[str, str]) -> Listing:
    """The classes of one split (a folder each, sorted) and their images.

    places: the real places of the folders listed before, and the paths that led there; this split's are added.
    BenchError where a class is empty, and where a link leads to a folder that is listed already or to one around.
    """
    folders: dict[str, list[str]] = {}
    for entry in _folders(folder):
        folders.setdefault(composed(entry.name), []).append(entry.name)
    _all_utf8(list(folders))
    names = sorted(folders)
    if classes:
        for name in map(composed, classes):
            if name not in folders:
                raise BenchError(f"{folder} has no class {name!r}.{nearest(name, names)}")
        names = sorted(set(map(composed, classes)))
    if len(names) < 2:
        found = f"one class ({names[0]})" if names else "no class folder"
        loose = not names and any(_is_image(path.name) for path in folder.iterdir())
        hint = " Its images lie in it directly." if loose else ""
        raise BenchError(f"{folder}: {found}, expected two or more, one folder of images per class.{hint}")
    listing: Listing = {}
    others: Counter[str] = Counter()
    for name in names:
        files = [file for each in folders[name] for file in _list_class(root, folder / each, places)]
        listing[name] = sorted(file for file in files if may_be_image(file))
        rest = Counter(suffix_of(file) for file in files if not may_be_image(file) and not _is_litter(file))
        if not listing[name]:
            raise BenchError(_empty(folder / folders[name][0], rest, [each for each in names if each != name], classes))
        others += rest
    if others:
        log.warning("below %s these files are not taken for images: %s", folder, _counted(others))
    return listing


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC)."""
    return normalize("NFC", name)


def _empty(folder: Path, files: Counter[str], others: Sequence[str], classes: Sequence[str]) -> str:
    """What is wrong with a class that has no image, and what to do about it."""
    kinds = f" ({_counted(files)}; known are {', '.join(sorted(SUFFIXES))})" if files else ""
    rest = ", ".join(f'"{name}"' for name in others[:5]) + (", ..." if len(others) > 5 else "")
    setting = f"by naming the others, --set 'dataset.classes=[{rest}]'" if not classes else "of those that are named"
    leave = f", or leave the class out {setting}" if len(others) > 1 else ""
    return f"The class folder {folder} holds no image{kinds}. Fill or remove it{leave}."


def _counted(suffixes: Counter[str]) -> str:
    """ "3 .txt, 1 .npy": the most frequent."""
    more = ", ..." if len(suffixes) > 5 else ""
    return ", ".join(f"{count} {suffix or 'hidden'}" for suffix, count in suffixes.most_common(5)) + more


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


def _is_litter(file: str) -> bool:
    name = file.rpartition("/")[2]
    return name.startswith(".") or name.lower() in LITTER


def _is_image(name: str) -> bool:
    """Whether a name says so: a file without a suffix beside folders is rather a licence or a list."""
    return suffix_of(name) in SUFFIXES and not name.startswith(".")


def _list_class(root: Path, folder: Path, places: dict[str, str]) -> list[str]:
    """Its files, as POSIX paths relative to the root. BenchError where it shares a folder with what is in `places`."""
    visited: dict[str, str] = {}
    prefix = folder.relative_to(root).as_posix()
    files = [f"{prefix}/{name}" for name in walk(folder, visited)]
    _all_utf8(files)
    for place, path in visited.items():
        if place in places:
            raise BenchError(
                f"{path} and {places[place]} are one folder, {place}, so that its pictures would be in the set twice. "
                "One of the two is a link, or lies behind one: remove that."
            )
    places.update(visited)
    return files


def _all_utf8(names: Sequence[str]) -> None:
    """An id is text that goes into records: a name in another encoding would not survive that."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BenchError(f"The name {name!r} is not valid UTF-8. Rename that file or folder.") from None


def walk(folder: Path, visited: dict[str, str] | None = None, again: list[str] | None = None) -> Iterator[str]:
    """Files at any depth, as POSIX paths relative to `folder`. Links to folders are followed, each folder once.

    visited: gets the real place of every folder, and the path that led there. again: gets the paths that lead to a
    folder once more and are passed over. BenchError for a link to a folder around `folder`: it would bring in all that
    is beside it.
    """
    start = os.path.realpath(folder)
    visited = {} if visited is None else visited
    visited[start] = str(folder)
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        seen = sorted(
            (name for name in folders if not _is_hidden(name)), key=lambda name: Path(here, name).is_symlink()
        )
        real: dict[str, str] = {}
        for name in seen:  # the folder itself, where it is here, before links to it
            real.setdefault(os.path.realpath(Path(here, name)), name)
        if again is not None:
            new = {name for place, name in real.items() if place not in visited}
            again += [str(Path(here, name)) for name in seen if name not in new]
        for place, name in real.items():
            if start != place and Path(start).is_relative_to(place):
                raise BenchError(
                    f"{Path(here, name)} is a link to {place}, a folder around it: all images there would count as "
                    f"those of {folder}. Remove the link."
                )
        folders[:] = [name for place, name in real.items() if place not in visited]  # only links lead to one again
        visited.update({place: str(Path(here, real[place])) for place in real if place not in visited})
        prefix = Path(here).relative_to(folder).as_posix()
        yield from (name if prefix == "." else f"{prefix}/{name}" for name in files)


def _raise(error: OSError) -> None:
    """os.walk passes over folders that it may not list; images would be missing without a word."""
    raise error
