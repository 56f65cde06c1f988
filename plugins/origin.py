"""Where a plugin comes from, for the record: its paper, its page, and the distribution that it was installed with."""

from __future__ import annotations

from email.utils import getaddresses
from importlib.metadata import Distribution, entry_points

from bench.api import Plugin


def origin(kind: str, plugin: Plugin) -> dict[str, str]:
    """kind, name, paper, url; and distribution, version, author: "" of a plugin that is not installed, as of a file."""
    found = _distribution(type(plugin).__module__)
    installed = {"distribution": "", "version": "", "author": ""}
    if found is not None:
        installed = {"distribution": found.name, "version": found.version, "author": _author(found)}
    return {"kind": kind, "name": plugin.name, "paper": plugin.paper, "url": plugin.url, **installed}


def _distribution(module: str) -> Distribution | None:
    """The one with an entry point into the outermost package around `module`."""
    top = module.partition(".")[0]
    points = entry_points(group="bench")
    return next((point.dist for point in points if point.dist and point.module.partition(".")[0] == top), None)


def _author(distribution: Distribution) -> str:
    """Names without addresses: a record is published."""
    about = distribution.metadata
    plain = [text for text in about.get_all("Author") or () if "@" not in text]
    named = [name for name, _ in getaddresses(about.get_all("Author-email") or []) if name]
    return ", ".join(dict.fromkeys([*plain, *named]))[:200]
