"""Where a defense or an attack comes from: its paper, its page, and whose distribution it is, as its records say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from bench.records.record import Record
from bench.records.redact import one_line

OWN = "ssl-backdoor-bench"
"""The distribution whose plugins need no remark."""


@dataclass(frozen=True, kw_only=True)
class Credit:
    """One plugin. Texts are on one line; url: http or https, quoted, or ""; versions: of its distribution."""

    name: str
    paper: str = ""
    url: str = ""
    distribution: str = ""
    versions: tuple[str, ...] = ()
    author: str = ""

    @property
    def remark(self) -> str:
        """Of somebody else's plugin: its distribution and version; "" for one of the benchmark's own."""
        if not self.distribution or self.distribution == OWN:
            return ""
        by = f", by {self.author}" if self.author else ""
        return f"{self.distribution} {', '.join(self.versions)}".strip() + by


def credits_of(records: Iterable[Record], kind: str) -> dict[str, Credit]:
    """Plugin name -> its credit; of several records the first that says something, with the versions of all."""
    found: dict[str, Credit] = {}
    versions: dict[str, set[str]] = {}
    for record in records:
        for facts in record.get("plugins") or ():
            if facts.get("kind") == kind and facts.get("name"):
                credit = _credit(facts)
                found.setdefault(credit.name, credit)
                versions.setdefault(credit.name, set()).update(credit.versions)
    return {name: replace(credit, versions=tuple(sorted(versions[name]))) for name, credit in found.items()}


def _credit(facts: Mapping[str, Any]) -> Credit:
    def text(name: str) -> str:
        return one_line(str(facts.get(name) or ""))

    version = text("version")
    return Credit(
        name=str(facts["name"]),
        paper=text("paper"),
        url=web_address(text("url")),
        distribution=text("distribution"),
        versions=(version,) if version else (),
        author=text("author"),
    )


def web_address(text: str) -> str:
    """`text` as a link's target that no format takes for more; "" where it is no address of http or https."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    return quote(text, safe="/:?#@!$&+,;=%~.-_")
