"""A record that the tests of words and tables change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.records import record as records
from bench.records.build import build_record

FIXTURE = Path(__file__).parents[1] / "fixtures" / "records" / "v2-multi-target.json"


@pytest.fixture
def record():
    """A run of `mine` by `htba` with seed 0, several targets; its metrics are those of the fixture."""
    found = records.load(FIXTURE)
    found["run"] |= {"defense": "mine", "attack": "htba", "seed": 0, "control": False}
    found["config"] |= {"seed": 0, "defense": {"name": "mine", "masks": 4}}
    found["config"].pop("threat", None)
    return found


@pytest.fixture(scope="session")
def built(smoke):
    """(pipeline, record as it is read from a file) of smoke's run."""
    return smoke[0], json.loads(json.dumps(build_record(smoke[0]), sort_keys=True))
