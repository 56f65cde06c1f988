"""`bench new`: the files of a plugin of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .common import say


def new(
    kind: Annotated[str, typer.Argument(help="attack, defense, repair, detector, encoder-test, dataset or ssl.")],
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits, - in between.")],
    directory: Annotated[
        Path | None,
        options.written("The folder to write, which must not exist.", default="./NAME"),
    ] = None,
) -> None:
    """Write a distribution with a plugin of your own: one file, its test, pyproject.toml, README."""
    from bench.plugins.manager import Plugins
    from bench.plugins.scaffold import TEMPLATES, create

    folder = Path(name) if directory is None else directory
    written = create(kind, name, folder, Plugins.load())
    say(f"Wrote {', '.join(path.name for path in written)} into {folder}. It works as it is; next:")
    say(f"  cd {folder} && pip install -e .")
    say(f"  bench check {name}")
    say(f"  bench run --preset smoke --{TEMPLATES[kind]} {name}")
