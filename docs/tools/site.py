"""A hook of mkdocs (`mkdocs build --strict`): what is a page of the site though no file in docs/ says so.

Pages of the repository that lie outside docs/ are added, and the pages of all commands, plugins and presets are made of
the code. A link that leaves docs/ leads to the repository, where one is named (`repo_url` of mkdocs.yml), else it is
its text alone: every page is one file, with links that also work where the repository is browsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files as package_files
from inspect import cleandoc
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any
from urllib.parse import quote, unquote

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
TABLES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "leaderboards" / "tables").glob("*.md"))
ADDED = ("leaderboards/README.md", *TABLES, "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
"""An inline link to a file: image mark, text, path, anchor."""
DEFINED = re.compile(r"(?m)^\[([^\]]+)\]: (?!https?:|mailto:|#)(\S+)(.*)\n")
"""Where the name of a link leads, to a file: name, path, title."""
NAMED = re.compile(r"\[([^\[\]]+)\]\[([^\[\]]+)\]")
"""A link by name: text, name."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    made = {"reference/commands.md": commands(), "reference/plugins.md": plugins(), "reference/presets.md": presets()}
    for name, text in ({name: (ROOT / name).read_text(encoding="utf-8") for name in ADDED} | made).items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page with every link made for the site."""
    source, base = page.file.src_uri, (config.repo_url or "").rstrip("/")
    home = PurePosixPath(source if source in ADDED else f"docs/{source}").parent

    def address(path: str) -> str:
        """Of a file, on the site or in the repository; "" where it is in a repository that is not named."""
        target = unquote(normpath(home / path))
        inside = target if target in ADDED else target.removeprefix("docs/")
        if inside != target or target in ADDED or not (ROOT / target).exists():
            return quote(relpath(inside, PurePosixPath(source).parent))  # mkdocs names a dead one
        return f"{base}/blob/main/{quote(target)}" if base else ""

    def made(link: re.Match[str]) -> str:
        found = address(link[3])
        mark = "" if base and found.startswith(base) else link[1]  # a page about a picture is no picture
        return f"{mark}[{link[2]}]({found}{link[4] or ''})" if found else link[2]

    targets = {name: address(path) for name, path, _ in DEFINED.findall(markdown)}

    def defined(link: re.Match[str]) -> str:
        return f"[{link[1]}]: {targets[link[1]]}{link[3]}\n" if targets[link[1]] else ""

    named = DEFINED.sub(defined, markdown)
    named = NAMED.sub(lambda link: link[0] if targets.get(link[2], link[2]) else link[1], named)
    return LINK.sub(made, named).replace("<details>", "<details markdown>")


def commands() -> str:
    """Each command's help, as typer writes it."""
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from bench.cli.main import app

    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="bench"), name="bench")
    codes = (
        "Exit codes: 0, done; 1, a check did not hold, or one of several runs failed; 2, something that was requested "
        "is wrong, and the message says what would be right. [`bench scan`](../howto/scan.md) has its own."
    )
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text)  # cut off in the middle of a sentence
    return text.replace("# `bench`\n", f"# Commands\n\n{codes}\n", 1)


def plugins() -> str:
    """Each plugin that comes with the benchmark: what its docstring says, and its options with their defaults."""
    from bench.plugins.manager import Plugins
    from bench.plugins.options import REQUIRED, options
    from bench.plugins.registry import KINDS

    def lines() -> Iterator[str]:
        yield "# Plugins and their options\n"
        yield "What comes with the benchmark. `bench list defense poisoncam` shows the values in force with a preset.\n"
        loaded = Plugins.load()
        for kind, about in KINDS.items():
            yield f"## {about.word[0].upper()}{about.word[1:]}s\n"
            for entry in loaded.entries(kind):
                yield f"### `{entry.name}`\n"
                yield cleandoc(entry.cls.__doc__ or "") + "\n"
                known = options(entry.cls)
                if known:
                    yield "| option | default | |\n|---|---|---|"
                for option in known:
                    default = "(required)" if option.default is REQUIRED else f"`{option.default!r}`"
                    yield f"| `{option.name}` | {default} | {option.doc.replace('|', chr(92) + '|')} |"
                yield ""

    return "\n".join(lines())


def presets() -> str:
    """Each preset as it is: its comments say why."""
    from bench.config.config import preset_names

    def lines() -> Iterator[str]:
        yield "# Presets\n"
        yield "`--preset NAME`, or your file: `--preset my.toml`. `--set section.option=value` changes one value.\n"
        for name in preset_names():
            text = (package_files("bench.config.presets") / f"{name}.toml").read_text(encoding="utf-8")
            yield f"## {name}\n\n```toml\n{text}```\n"

    return "\n".join(lines())
