"""The README's code does what the README says."""

import functools
import importlib.util
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench import leaderboard
from bench.cli.leaderboard import files_in
from bench.config.config import load_config
from bench.leaderboard import page
from bench.leaderboard.marks import GIVEN, filled_in, marks, unmarked
from bench.plugins.contract.checks import assert_contract
from bench.plugins.manager import Plugins
from bench.records.record import load
from bench.report.terminal import summary

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
RECORDS = {"small-scale.md": ("leaderboards/records", "docs/measured/leads")}
"""Where a page's records lie, if not in the leaderboards alone."""
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *DOCS,
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
"""The pages whose every number has a mark; docs/studies/ are held to their CSV, leaderboards/ to the records."""
QUOTING = [
    path
    for path in (ROOT / "README.md", *DOCS)
    if any(mark.kind != GIVEN for mark in marks(path.read_text(encoding="utf-8")))
]


STAGES = ("poison", "threat_model", "threat_probe", "defense", "retraining", "defended_probe")


@pytest.fixture
def plugin(tmp_path):
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "# mine.py" in b)
    path = tmp_path / "readme_mine.py"
    path.write_text(block, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("readme_mine", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_defense_of_the_readme_keeps_the_contract(plugin):
    assert_contract(plugin.Colourful())


def test_it_can_be_chosen_with_its_option(plugin):
    plugins = Plugins.load([plugin])
    config = load_config(plugins, "smoke", choices={"defense": "colourful"}, settings=["defense.share=0.2"])
    assert config.defense.filter == plugin.Colourful(share=0.2)
    assert plugins.entry("defense", "colourful").cls is plugin.Colourful


def test_every_preset_and_command_it_names_exists():
    from bench.config.config import preset_names

    assert set(re.findall(r"--preset (?!my)([\w-]+)", README)) <= set(preset_names())
    for document in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (Path(__file__).parents[2] / document).exists(), document


def test_the_output_it_shows_is_that_of_the_committed_first_run():
    record = load(ROOT / "docs" / "measured" / "first-run.json")
    block = next(b for b in re.findall(r"```text\n(.*?)```", README, re.S) if "done train" in b)
    console = Console(width=200, record=True, file=io.StringIO())
    for part in summary(record):
        console.print(part, highlight=False)
    told = [line.rstrip() for line in console.export_text().strip().splitlines()]
    stages, _, shown = block.partition("\n\n")
    assert [line.rstrip() for line in shown.strip().splitlines()] == told
    seconds = [int(number) for number in re.findall(r"\((\d+) s\)", stages)]
    assert seconds == [round(record["stages"][name]["seconds"]) for name in STAGES]


@functools.cache
def read(*folders):
    return leaderboard.read(files_in([ROOT / folder for folder in folders]), ROOT)


@pytest.fixture
def tables():
    return read("leaderboards/records")


def test_its_table_is_that_of_the_committed_records(tables):
    laptop = [table for table in tables if "target 9" in table.title]
    assert filled_in(README, "leaderboard", leaderboard.renderer("markdown")(laptop)) == README, (
        'stale: bench leaderboard leaderboards/records --only "target 9" --output README.md'
    )


@pytest.mark.parametrize("path", QUOTING, ids=lambda path: path.name)
def test_every_marked_number_is_that_of_the_committed_records(path):
    folders = RECORDS.get(path.name, ("leaderboards/records",))
    text = path.read_text(encoding="utf-8")
    found = [page.told(mark, new) for mark, new in page.stale(text, read(*folders), path.parent).items()]
    assert found == [], f"stale: bench leaderboard {' '.join(folders)} --output {path.name}, with --only as above"


def test_the_pages_that_quote_records():
    pages = {"README.md", "results.md", "small-scale.md", "scan.md", "memory.md", "scale.md"}
    assert {path.name for path in QUOTING} >= pages


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_number_has_a_mark(path):
    assert unmarked(path.read_text(encoding="utf-8")) == [], "docs/pages.md says how to mark them"
