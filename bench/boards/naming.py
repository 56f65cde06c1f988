"""What a row is called beside its defense's name: the settings in which it is not what its preset makes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.records.record import Record, entries
from bench.store import canonical, digest

if TYPE_CHECKING:
    from .row import RunRow

UNDEFINED = "–"  # noqa: RUF001 - an en dash, for what is undefined or does not apply
_IN_TITLE = ("attack.", "dataset.")
"""Sections whose settings all rows of a table share, and its title says."""
_OWN = "defense."


def leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """A configuration as ("attack.rate", "0.5") ..., the values as texts."""
    return ((path, leaf if isinstance(leaf, str) else canonical(leaf)) for path, leaf in entries(value, name))


def flat_config(record: Record, without: str = "") -> dict[str, str]:
    """The configuration as {"attack.rate": "0.5", ...}, but for the seed and what the group already fixes.

    The dataset is known by its fingerprint (its options may hold a path); workers change no number.
    """
    config = {name: value for name, value in record["config"].items() if name not in ("seed", "dataset", without)}
    flat = dict(leaves(config, ""))
    flat.pop("train.loader_workers", None)
    return flat


def asked_for(record: Record) -> frozenset[str] | None:
    """The options that the user set beside the preset, as "train.epochs"; None where the record does not say."""
    asked: Mapping[str, Any] | None = record["run"].get("asked")
    if not asked or not isinstance(asked.get("settings"), list):
        return None
    names = {str(text).partition("=")[0].strip() for text in asked["settings"]}
    return frozenset(name for name in names if not name.startswith(_IN_TITLE))


def name_settings(table: Sequence[RunRow]) -> None:
    """Say in each row in which settings it is not what its preset makes of it, or differs from the others of its table
    and defense where that is not known."""
    by_table = _together(table, lambda row: row.group)
    shared = {group: shared_settings(rows) for group, rows in by_table.items()}
    for same in _together(table, lambda row: (row.group, row.defense)).values():
        every = {name for row in same for name in row.config}
        differ = {name for name in every if len({row.config.get(name) for row in same}) > 1}
        names = differ | (_set(same) - shared[same[0].group].keys())
        usual = {name: _usual(name, same) for name in names}
        for row in same:
            own = {name: row.config.get(name, UNDEFINED) for name in sorted(names)}
            row.settings = _shortened({name: text for name, text in own.items() if text != usual[name]})


def shared_settings(rows: Sequence[RunRow]) -> dict[str, str]:
    """Settings of no defense that somebody changed, and that all rows of a table have alike."""
    named = {name for name in _set(rows) if not name.startswith(_OWN)}
    found = {name: {row.config.get(name, UNDEFINED) for row in rows} for name in sorted(named)}
    return {name: texts.pop() for name, texts in found.items() if len(texts) == 1}


def _together(rows: Iterable[RunRow], key: Callable[[RunRow], Any]) -> dict[Any, list[RunRow]]:
    found: dict[Any, list[RunRow]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _set(rows: Iterable[RunRow]) -> set[str]:
    """The paths, as in `config`, of the options that users set for the rows."""
    return {name for row in rows for name in row.config if _under(name, row.asked or ())}


def _under(name: str, options: Collection[str]) -> bool:
    """Whether a path in a configuration is of one of the options. `defense.masks` is also that of a part of a
    combination: defense.poisoncam.masks."""
    paths = [name]
    if name.startswith(_OWN):
        paths.append(_OWN + name.removeprefix(_OWN).partition(".")[2])
    return any(f"{path}.".startswith(f"{option}.") for path in paths for option in options)


def _usual(name: str, same: Sequence[RunRow]) -> str | None:
    """The preset's own value of an option: that of every row for which nobody set it, where they agree."""
    found = {row.config.get(name, UNDEFINED) for row in same if row.asked is not None and not _under(name, row.asked)}
    return found.pop() if len(found) == 1 else None


def short_digests(text: str) -> str:
    """`text` with the first 12 digits of each SHA-256 in it: enough to tell versions of a plugin apart."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text)


def _shortened(settings: Mapping[str, str]) -> str:
    """At most three settings in full; with more, a short hash keeps different ones apart."""
    texts = [f"{name.removeprefix(_OWN)}={short_digests(value)}" for name, value in settings.items()]
    return ", ".join(texts if len(texts) <= 3 else [*texts[:2], f"#{digest(dict(settings))[:8]}"])
