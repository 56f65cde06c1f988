"""The README's code does what the README says."""

import importlib.util
import re
from pathlib import Path

import pytest

from bench import leaderboard
from bench.config import load_config
from bench.marks import filled_in
from bench.plugins.checks import assert_contract
from bench.plugins.manager import Plugins

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


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
    assert config.defense.chooser == plugin.Colourful(share=0.2)
    assert plugins.entry("defense", "colourful").cls is plugin.Colourful


def test_every_preset_and_command_it_names_exists():
    from bench.config import preset_names

    assert set(re.findall(r"--preset (?!my)([\w-]+)", README)) <= set(preset_names())
    for document in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / document).exists(), document


def test_its_table_is_that_of_the_committed_records():
    root = Path(__file__).parents[1]
    files = sorted((root / "leaderboards" / "records").iterdir())
    tables = [table for table in leaderboard.read(files, root) if "preset laptop" in table.title]
    assert filled_in(README, "leaderboard", leaderboard.renderer("markdown")(tables)) == README, (
        'stale: bench leaderboard leaderboards/records --only "preset laptop" --output README.md'
    )
