"""The whole phenomenon on real training: the attack works, and PoisonCAM undoes it."""

from __future__ import annotations

import pytest

from bench.cli import main as cli
from bench.records import record

PRESET = "laptop"
SETTINGS = ["attack.rate=1.0", "train.epochs=14", "train.warmup=1", "defense.members=2"]
"""--set options: fewer epochs and a smaller ensemble for time, the whole target class so that few epochs are enough."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_attack_works_and_poisoncam_undoes_it(tmp_path):
    file = tmp_path / "record.json"
    changes = [part for setting in SETTINGS for part in ("--set", setting)]
    command = ["run", "--preset", PRESET, "--store", str(tmp_path / "store"), "--record", str(file), *changes]
    assert cli.guarded(lambda: cli.app(command, standalone_mode=False)) == 0
    found = record.load(file)["metrics"]
    none, defended = found["none"], found["defended"]
    assert none["poisoned"]["asr"] >= 50
    assert none["clean"]["asr"] < 15
    assert defended["poisoned"]["asr"] <= none["poisoned"]["asr"] / 2
