"""What `bench new` writes: a distribution with one plugin, from the files in template/."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
from importlib.resources import files
from pathlib import Path

from bench.errors import BenchError, nearest
from bench.store import check_can_write, write_bytes

from .manager import Plugins
from .registry import KINDS

NAME = re.compile(r"(?!.{65})[a-z][a-z0-9]*([._-][a-z0-9]+)*")
"""Stricter than a plugin's name: it also becomes a module, a class and a part of the distribution's name."""

TEMPLATES = {**{kind: kind for kind in KINDS}, "repair": "defense", "detector": "defense", "encoder-test": "defense"}
"""What can be written -> the kind of plugin that it is, by which commands choose it."""


def create(kind: str, name: str, folder: Path, plugins: Plugins) -> list[Path]:
    """Write a distribution with a plugin of `kind` (see TEMPLATES) into the new `folder`; its files, the plugin first.

    Raises BenchError for an unknown kind, a name that cannot be used (with the nearest that can) or is taken by one of
    `plugins`, and a folder that is there already.
    """
    if kind not in TEMPLATES:
        raise BenchError(f"unknown kind of plugin {kind!r}.{nearest(kind, TEMPLATES)}")
    _check_name(kind, name, plugins)
    if folder.exists() or folder.is_symlink():
        raise BenchError(f"{folder} exists already; nothing was written. Give another folder: --directory DIR")
    check_can_write(folder / "pyproject.toml")
    texts = _texts(kind, name)
    folder.mkdir(parents=True)
    try:
        for file, text in texts.items():
            write_bytes(folder / file, text.encode())
    except BaseException:  # a full disk: half a plugin helps nobody
        shutil.rmtree(folder)
        raise
    return [folder / file for file in texts]


def _check_name(kind: str, name: str, plugins: Plugins) -> None:
    if not NAME.fullmatch(name):
        hint = f"Did you mean {_right_name(kind, name)!r}?"
        raise BenchError(f"{name!r} cannot be a name: at most 64 small letters, digits, -, as in mine-2. {hint}")
    for each, known in KINDS.items():
        if name in plugins.names(each):
            origin = plugins.entry(each, name).origin
            hint = f"Take another name, such as {_right_name(kind, f'my-{name}')!r}."
            raise BenchError(f"there is {known.word} {name!r} already (from {origin}). {hint}")
    if _taken(_module(name)):
        hint = f"Did you mean {_right_name(kind, name)!r}?"
        raise BenchError(f"{name!r} cannot be used: Python has a module or a keyword {_module(name)!r} already. {hint}")


def _right_name(kind: str, name: str) -> str:
    """The nearest name to `name` that can be used."""
    slug = re.sub("[^a-z0-9]+", "-", name.lower())[:40].strip("-").lstrip("0123456789-") or f"my-{kind}"
    return f"{slug}-{kind}" if _taken(_module(slug)) else slug


def _module(name: str) -> str:
    return re.sub("[.-]", "_", name)


def _taken(module: str) -> bool:
    return keyword.iskeyword(module) or importlib.util.find_spec(module) is not None


def _texts(kind: str, name: str) -> dict[str, str]:
    """File name -> content."""
    template, module = files("bench.plugins") / "template", _module(name)
    sources = {
        f"{module}.py": f"{kind.replace('-', '_')}.py",
        f"test_{module}.py": "test_contract.py",
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
    }
    found = {file: (template / source).read_text(encoding="utf-8") for file, source in sources.items()}
    words = {
        "PluginClass": _class_name(kind, name, found[f"{module}.py"]),
        "plugin_module": module,
        "plugin_kind": TEMPLATES[kind],
        "plugin-name": name,
    }
    for old, new in words.items():
        found = {file: text.replace(old, new) for file, text in found.items()}
    return found


def _class_name(kind: str, name: str, text: str) -> str:
    """'far-out' -> FarOut; FarOutDefense where the template uses that word itself."""
    made = "".join(part.capitalize() for part in re.split("[._-]", name))
    return made + kind.title().replace("-", "") if re.search(rf"\b{made}\b", text) else made
