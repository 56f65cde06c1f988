"""The committed records are what the committed matrix files give: no cell is missing, no record is of anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.config.config import load_config
from bench.matrix.file import read_matrix
from bench.plugins.manager import Plugins
from bench.records.record import entries, load

ROOT = Path(__file__).parents[2]
MEASURED = {"leaderboards": "leaderboards/records"}
"""Where matrix files lie -> where their records do."""


def flat(config):
    """{"attack.rate": 0.5, ...}, lists as texts."""
    return {name: json.dumps(value) for name, value in entries(json.loads(json.dumps(config)))}


@pytest.fixture(scope="module", params=MEASURED.items(), ids=lambda each: each[0])
def measured(request):
    """(configurations that the matrix files ask for, {file name: that of a record})."""
    asked, kept = request.param
    plugins = Plugins.load()
    cells = [cell for file in sorted((ROOT / asked).glob("*.toml")) for cell in read_matrix(file, plugins)]
    configs = [
        load_config(plugins, cell.preset, choices=cell.choices, settings=cell.settings, seed=cell.seed)
        for cell in cells
    ]
    found = {path.name: load(path) for path in sorted((ROOT / kept).glob("*.json"))}
    records = {
        name: flat({**record["config"], "until": record["run"].get("until", "end")}) for name, record in found.items()
    }
    return [
        flat({**config.resolved, "until": cell.until}) for cell, config in zip(cells, configs, strict=True)
    ], records


def test_every_cell_has_its_record_and_every_record_its_cell(measured):
    asked, records = measured
    left = dict(records)
    for config in asked:
        fits = [name for name, found in left.items() if found.items() <= config.items()]  # options may have been added
        assert len(fits) == 1, f"{len(fits)} records of {config}"
        del left[fits[0]]
    assert list(left) == [], "no matrix file asks for these"


def test_no_record_tells_of_the_machine_s_folders(measured):
    for name, config in measured[1].items():
        assert not [text for text in config.values() if text.startswith(('"/', '"~'))], name
