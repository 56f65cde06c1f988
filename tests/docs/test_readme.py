"""The README's code does what the README says."""

import importlib.util
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench.config.config import load_config
from bench.plugins.contract.checks import assert_contract
from bench.plugins.manager import Plugins
from bench.records.record import load
from bench.report.terminal import summary

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
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
        assert (ROOT / document).exists(), document


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
