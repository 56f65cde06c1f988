"""What tables are made of: one row for each run of a defense, and the table that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.records.record import Record


class Group(NamedTuple):
    """What all records of one table share."""

    dataset: str
    fingerprint: str
    attack: str
    options: str
    preset: str
    metric_version: int
    ssl: str = ""

    @property
    def setting(self) -> Group:
        """The same for all attacks."""
        return self._replace(attack="", options="{}")

    @property
    def attack_options(self) -> dict[str, str]:
        """Those of the attack, as texts: of another rate, target or trigger it is another attack."""
        found: dict[str, str] = json.loads(self.options)
        return found


@dataclass(kw_only=True)
class RunRow:
    """What one record says of its defense, or of its threat model without one.

    kind: one of KINDS. values: by the names of the columns, localisation as "<k>.accuracy" ...; what is undefined is
    None or not there. config: every setting, as `naming.flat_config` has it; asked: the options that the user set
    (None: not known); settings: those that are part of its name, in words. stages: seconds of each stage that it
    depends on, by its key. threat: what makes its threat model that model; verdict: the key of the stage that gave it
    (None: of none). full: it has the rates of an encoder. poisoned: how many images are. identity: rows of one result
    have one. source: where the record lies, for links; file: for messages; record: all that it says.
    """

    group: Group
    defense: str
    kind: str
    status: str
    seed: int
    values: dict[str, float | None]
    stages: dict[str, float]
    config: dict[str, str]
    asked: frozenset[str] | None
    threat: tuple[str | None, str]
    verdict: str | None
    full: bool
    poisoned: int
    identity: str
    source: str
    file: str
    record: Record = field(repr=False)
    settings: str = ""


def by_group(rows: Iterable[RunRow]) -> dict[Group, list[RunRow]]:
    """The rows of each table."""
    found: dict[Group, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return found
