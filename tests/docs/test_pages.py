"""Every page: the commands in its code blocks exist, with their options, plugins and presets; the site can be built."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from bench.boards.overview import ALL
from bench.cli.main import app
from bench.config.config import preset_names
from bench.plugins.manager import Plugins
from bench.plugins.options import options

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
KINDS = {"--attack": "attack", "--defense": "defense", "--dataset": "dataset", "--ssl": "ssl"}


def commands(page):
    """The lines of its shell blocks that begin with `bench`, whole where they are broken by a backslash."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```$", text, re.S | re.M):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for part in re.split(r"&&|;", line.partition(" #")[0]):
                if part.strip().startswith("bench "):
                    yield part.strip()


def own_names(page):
    """Names that the page defines itself: plugins in its blocks, what `bench new` writes, and the presets' `my`."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r'^    name(?:: ClassVar\[str\])? = "([\w-]+)"', text, re.M)
    return {*named, *re.findall(r"bench new [\w-]+ ([\w-]+)", text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_commands_exist(page):
    known, plugins, own = get_command(app), Plugins.load(), own_names(page)
    for line in commands(page):
        _, name, *words = shlex.split(line)
        command = known.get_command(None, name)
        assert command is not None, line
        group = getattr(command, "commands", {})
        if group:
            command = group[words[0]]
        flags = {option for each in command.params for option in each.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= flags | {"--help"}, line
        for flag, value in itertools.pairwise(words):
            if (name, flag, value) == ("compare", "--attack", ALL):
                continue
            if flag in KINDS:
                for part in value.split("+"):
                    assert part in {*plugins.names(KINDS[flag]), *own}, line
            elif flag == "--preset":
                assert value in preset_names() or value.endswith(".toml"), line
            elif flag == "--set" and name in ("run", "plan"):
                section, _, option = value.partition("=")[0].partition(".")
                if section in KINDS.values():
                    every = {known.name for entry in plugins.entries(section) for known in options(entry.cls)}
                    assert option in every or own, line


def test_some_pages_have_commands():
    assert sum(bool(list(commands(page))) for page in PAGES) >= 10


@pytest.mark.slow
def test_the_site_can_be_built(tmp_path):
    """Every link of every page leads somewhere, and every name of the reference exists."""
    pytest.importorskip("mkdocs")
    # Not --quiet: what is not said is not counted either.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "site" / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    assert 'id="bench.Defense.clean"' in reference
    assert "--until" in (tmp_path / "site" / "reference" / "commands" / "index.html").read_text(encoding="utf-8")


RUNS = (ROOT / "docs" / "howto" / "runs.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_on_runs_works(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", RUNS, re.S)
    names = {}
    small = block.replace("until=", f'preset="smoke", store={str(tmp_path)!r}, until=')
    exec(compile(small, "runs.md", "exec"), names)
    assert len(names["table"]) == 2  # recur, and the line without a defense
    assert names["result"].images().kept.all()  # in so few images nothing recurs often enough


def test_the_matrix_file_of_the_page_on_runs_is_one(tmp_path):
    from bench.matrix.file import read_matrix

    (block,) = re.findall(r"```toml\n(.*?)```", RUNS, re.S)
    path = tmp_path / "table.toml"
    path.write_text(block, encoding="utf-8")
    assert len(read_matrix(path, Plugins.load())) == 5 * 3 * 2
