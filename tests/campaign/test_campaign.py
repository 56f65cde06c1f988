"""A minute of the campaign; --campaign-kills, --campaign-inputs and --campaign-seed make it longer or another.

By hand, with what came of each: malformed.py and kills.py.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import kills
import malformed


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_malformed_inputs(request, smoke, tmp_path):
    count, seed = request.config.getoption("--campaign-inputs"), request.config.getoption("--campaign-seed")
    store = Path(shutil.copytree(smoke[0].store.root, tmp_path / "store"))
    malformed.make_store(store)
    made = list(malformed.campaign(range(count), seed, store))
    assert [each for each in made if malformed.fault(each)] == []
    assert len(made) == count
    assert count < 50 or {0, 2} <= {each["code"] for each in made}


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_kills(request, tmp_path):
    wanted, seed = request.config.getoption("--campaign-kills"), request.config.getoption("--campaign-seed")
    made = list(kills.campaign(wanted, seed, tmp_path))
    assert [each for each in made if kills.fault(each)] == []
    assert sum(each["kills"] for each in made) >= wanted
