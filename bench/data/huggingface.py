"""Image classification sets of the Hugging Face Hub, and local files in its formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api import Dataset
from bench.errors import BenchError, counted, nearest

from .checked import Checked, Ledger, check_bytes
from .folder import FileDataset
from .images import Photographs
from .layout import VAL_NAMES, Listing, composed, split_by_ratio
from .names import Names

if TYPE_CHECKING:
    from datasets import Dataset as Table

TABLES = (".parquet", ".arrow")
"""Suffixes of single files that are read; the library's module is called like each."""

VALIDATION = (*VAL_NAMES[:-1], "dev", VAL_NAMES[-1])
"""Names of the validation split; the first one there is taken."""


@dataclass(frozen=True, kw_only=True)
class HuggingFace(FileDataset):
    """A set of the Hugging Face Hub by its name, or a local one: parquet, an imagefolder, `save_to_disk`'s folder.

    Needs the library `datasets` (the extra "hf"). It keeps what it fetched and converted in its own cache. Class names
    are those of the set; labels without names are called by their text ("3"). Images are decoded when they are used,
    reduced and checked as by the dataset `folder`. No code of the set is run.
    """

    name: ClassVar[str] = "huggingface"
    root: str = field(default="", metadata={"help": "a name on the Hub, or a local parquet file or folder"})
    config: str = field(default="", metadata={"help": "the set's configuration (subset), where it has several"})
    train_split: str = field(default="", metadata={"help": "training split; '': train, or the only one"})
    val_split: str = field(default="", metadata={"help": "validation split; '': val, valid, validation, dev or test"})
    val_ratio: float = field(default=0.1, metadata={"help": "share of each class for validation, without a split"})
    split_seed: int = field(default=0, metadata={"help": "draws that share"})
    image: str = field(default="", metadata={"help": "the column of the images; '': found by its type"})
    label: str = field(default="", metadata={"help": "the column of the classes; '': found by its type"})
    classes: tuple[str, ...] = field(default=(), metadata={"help": "the classes to use; none: all"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.val_ratio < 1:
            raise BenchError(f"dataset.val_ratio is {self.val_ratio}, expected a share in (0, 1).")

    def load(self) -> Dataset:
        """The dataset, its images unread. Raises BenchError."""
        tables = self._open()
        train, val = self._splits(tables)
        image, label = self._columns(tables[train])
        listings = {name: self._listing(tables[name], name, label) for name in dict.fromkeys((train, val))}
        pair = (
            split_by_ratio(listings[train], self.val_ratio, self.split_seed)
            if val == train
            else _same_classes(listings[train], listings[val], self.root, (train, val))
        )
        columns = {name: _encoded(tables[name], image) for name in listings}
        rows = {name: _Rows(columns[name], image) for name in listings}
        kept = self.check(pair, lambda name: _RowLedger(rows, name))
        of = {"train": train, "val": val}
        return self.assemble(
            tuple(pair[0]), *kept, f"of {self.root}", lambda split, ids: _RowImages(rows[of[split]], ids, self.size)
        )

    def _open(self) -> Mapping[str, Table]:
        """The tables by the names of their splits."""
        try:
            import datasets

            if int(datasets.__version__.partition(".")[0]) < 4:
                raise ImportError(f"its version is {datasets.__version__}, expected 4 or later")
        except ImportError as error:
            raise BenchError(
                f"The dataset 'huggingface' needs the library datasets ({error}): pip install 'ssl-backdoor-bench[hf]'"
            ) from None
        if not self.root:
            raise BenchError(
                "The dataset 'huggingface' needs a set: --set dataset.root=NAME, as on huggingface.co/datasets, or a "
                "local parquet file or folder."
            )
        try:
            found = self._read(Path(self.root).expanduser(), datasets)
        except BenchError:
            raise
        except Exception as error:  # the network, the hub and the library each raise their own kinds
            raise BenchError(f"dataset.root {self.root!r} cannot be opened: {error}") from error
        if isinstance(found, list):
            return dict(zip((self.train_split, self.val_split), found, strict=True))
        return found if isinstance(found, Mapping) else {"train": found}

    def _read(self, path: Path, datasets: Any) -> Any:
        """The splits by name, or one table, or a list of the two splits that are named."""
        if not path.exists() and (path.is_absolute() or path.suffix in TABLES or self.root.startswith((".", "~"))):
            raise BenchError(f"dataset.root is {self.root!r}, which is not there.")
        if path.is_file():
            if path.suffix not in TABLES:
                raise BenchError(f"dataset.root is {self.root!r}; of single files {', '.join(TABLES)} are read.")
            return datasets.load_dataset(path.suffix[1:], data_files=str(path))
        if any((path / each).is_file() for each in ("dataset_dict.json", "state.json")):
            return datasets.load_from_disk(str(path))
        named = [self.train_split, self.val_split]
        where = str(path) if path.exists() else self.root
        return datasets.load_dataset(where, self.config or None, split=named if all(named) else None)

    def _splits(self, tables: Mapping[str, Table]) -> tuple[str, str]:
        """The names of the training and the validation split; twice the same where one is to be divided."""
        for given in (self.train_split, self.val_split):
            if given and given not in tables:
                raise BenchError(f"{self.root} has no split {given!r}.{nearest(given, tables)}")
        train = self.train_split or ("train" if "train" in tables or len(tables) > 1 else next(iter(tables)))
        if train not in tables:
            raise BenchError(
                f"{self.root} has the splits {', '.join(tables)}: name two, by dataset.train_split and val_split."
            )
        if self.val_split == train:
            raise BenchError(f"{self.root}: training and validation are the same split, {train!r}: name two.")
        return train, self.val_split or next((name for name in VALIDATION if name in tables and name != train), train)

    def _columns(self, table: Table) -> tuple[str, str]:
        """The columns of images and of classes, by their types where they are not named."""
        image = _choose(table, "image", self.image, [_image_columns(table)], ())
        others = {name: kind for name, kind in table.features.items() if name != image}
        named = [name for name, kind in others.items() if _has_names(kind)]
        plain = [name for name, kind in others.items() if _is_value(kind, "int", "uint", "string")]
        return image, _choose(table, "label", self.label, [named, plain], ("label", "labels"))

    def _listing(self, table: Table, split: str, label: str) -> Listing:
        """Class name -> ids of its rows: "train/00000012"."""
        if label not in table.features:
            raise BenchError(f"{self.root}: {split!r} has no column {label!r}.{nearest(label, table.features)}")
        kind = table.features[label]
        if not (_has_names(kind) or _is_value(kind, "int", "uint", "string", "bool")):
            raise BenchError(f"dataset.label is {label!r}, which holds {_kind(kind)}, no classes.")
        values = table.select_columns([label])[:][label]
        names = _class_names(kind, values)
        nameless = sum(value not in names for value in values)
        if nameless:
            raise BenchError(
                f"{self.root}: {nameless} of the {len(values)} rows of {split!r} have no class in {label!r}. Choose "
                "another split: --set dataset.val_split=NAME, or leave it to dataset.val_ratio."
            )
        listing: Listing = {name: [] for name in names.values()}
        for row, value in enumerate(values):
            listing[names[value]].append(f"{split}/{row:08d}")
        wanted = [composed(name) for name in self.classes]
        for name in wanted:
            if name not in listing:
                raise BenchError(f"{self.root} has no class {name!r}.{nearest(name, listing)}")
        chosen = {name: ids for name, ids in listing.items() if name in wanted or not wanted}
        empty = [name for name, ids in chosen.items() if not ids]
        if empty:
            full = ", ".join(f'"{name}"' for name, ids in chosen.items() if ids)
            raise BenchError(
                f"{self.root}: the classes {', '.join(empty[:5])}{' ...' if len(empty) > 5 else ''} have no image in "
                f"{split!r}. Leave them out by naming the others: --set 'dataset.classes=[{full}]'."
            )
        if len(chosen) < 2:
            raise BenchError(
                f"{self.root}: {label!r} has {counted(len(chosen), 'class', 'classes')}, expected two or more."
            )
        return chosen


def _choose(table: Table, option: str, given: str, kinds: Sequence[list[str]], usual: Sequence[str]) -> str:
    """The column `given`; else the only one of the first of `kinds` that has any, or the one with a usual name."""
    if given:
        if given not in table.features:
            raise BenchError(f"dataset.{option} is {given!r}, no column.{nearest(given, table.features)}")
        return given
    found = next((names for names in kinds if names), [])
    found = [name for name in usual if name in found][:1] or found
    if len(found) != 1:
        columns = ", ".join(f"{name} ({_kind(kind)})" for name, kind in table.features.items())
        state = f"may be {' or '.join(found)}" if found else "cannot be told"
        raise BenchError(
            f"The column of the {option}s {state}: name it with --set dataset.{option}=NAME. Columns: {columns}"
        )
    return found[0]


def _kind(feature: Any) -> str:
    """A column's type in a word."""
    return str(feature.dtype) if type(feature).__name__ == "Value" else type(feature).__name__


def _image_columns(table: Table) -> list[str]:
    """Columns of images; where there are none, of bytes (parquet that the library did not write has no such types)."""
    images = [name for name, kind in table.features.items() if type(kind).__name__ == "Image"]
    return images or [name for name, kind in table.features.items() if _holds_bytes(kind)]


def _holds_bytes(kind: Any) -> bool:
    return "bytes" in kind if isinstance(kind, Mapping) else _is_value(kind, "binary", "large_binary")


def _is_value(kind: Any, *types: str) -> bool:
    """Whether a column holds single values of one of the types."""
    return type(kind).__name__ == "Value" and kind.dtype.removeprefix("large_").startswith(types)


def _has_names(kind: Any) -> bool:
    return type(kind).__name__ == "ClassLabel"


def _class_names(kind: Any, values: Sequence[Any]) -> dict[Any, str]:
    """Label -> name, in the order of the classes: the set's names, else the labels' text. A name of two classes gets
    the label, too."""
    known = list(kind.names) if _has_names(kind) else None
    labels = range(len(known)) if known else sorted({value for value in values if value is not None})
    names = {label: composed(str(known[label] if known else label)) for label in labels}
    counts = Counter(names.values())
    return {label: name if counts[name] == 1 else f"{name} ({label})" for label, name in names.items()}


def _same_classes(train: Listing, val: Listing, root: str, splits: tuple[str, str]) -> tuple[Listing, Listing]:
    parts = [
        f"only in {split}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for split, names in zip(splits, (sorted(train.keys() - val), sorted(val.keys() - train)), strict=True)
        if names
    ]
    if parts:
        raise BenchError(
            f"{root}: the classes of training and validation differ: {'; '.join(parts)}. Choose among the common ones "
            "with --set dataset.classes=..."
        )
    return train, {name: val[name] for name in train}


def _encoded(table: Table, column: str) -> Table:
    """That column alone, its images as the bytes that they were stored as."""
    from datasets import Image

    kind = table.features[column]
    if not (isinstance(kind, Image) or _holds_bytes(kind)):
        raise BenchError(f"dataset.image is {column!r}, which holds {_kind(kind)}, no images.")
    alone = table.select_columns([column])
    return alone.cast_column(column, Image(decode=False)) if isinstance(kind, Image) else alone


@dataclass(frozen=True)
class _Rows:
    """The images of one table by row: bytes, or the file that a row names."""

    table: Table
    column: str

    def __getitem__(self, row: int) -> bytes | Path:
        value = self.table[row][self.column]
        if isinstance(value, bytes):
            return value
        value = value or {}
        return value["bytes"] if value.get("bytes") is not None else Path(value.get("path") or "")


class _RowLedger(Ledger):
    """What is known of the rows of one class, in tables by split: what was found in bytes holds for the table's own
    fingerprint, what was found in a file for the file."""

    def __init__(self, rows: Mapping[str, _Rows], class_name: str) -> None:
        self._rows = rows
        marks = [str(each.table._fingerprint) for each in rows.values()]
        super().__init__(Path("/", *marks), class_name)

    def _check(self, name: str) -> Checked:
        if name in self._known:
            return Checked(*self._known[name][3:])
        split, _, row = name.rpartition("/")
        content = self._rows[split][int(row)]
        if isinstance(content, Path):
            return super()._check(str(content.absolute()))
        result = check_bytes(content)
        self._known[name] = [0, 0, 0, *result]
        self._changed = True
        return result


class _RowImages(Photographs):
    """Rows of one table, by ids ("train/00000012")."""

    def __init__(self, rows: _Rows, ids: Names, size: int) -> None:
        self.size, self._rows, self._ids = size, rows, ids

    def __len__(self) -> int:
        return len(self._ids)

    def _read(self, index: int) -> bytes:
        from .decode import read_file

        content = self._rows[int(self._ids[index].rpartition("/")[2])]
        return read_file(content) if isinstance(content, Path) else content

    def _name(self, index: int) -> str:
        return str(self._ids[index])
