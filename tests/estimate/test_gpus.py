"""What a plan says of GPUs that are not at hand."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.estimate import gpus as elsewhere
from bench.estimate.gpus import ElsewhereEstimator, Fleet, count_operations, read_fleet


def test_a_fleet_is_read():
    assert read_fleet("h200") == Fleet("h200", 1)
    assert read_fleet("4xRTX3090") == Fleet("rtx3090", 4)


def test_a_fleet_is_as_fast_as_its_gpus_together():
    assert Fleet("rtx3090", 4).speed == pytest.approx(4 * 71e12 * 0.3)


@pytest.mark.parametrize(("text", "hint"), [("h20", "h200"), ("0xh200", "h200"), ("rtx309", "rtx3090"), ("", "a100")])
def test_unknown_gpus_are_refused_with_those_known(text, hint):
    with pytest.raises(BenchError, match="unknown GPUs") as caught:
        read_fleet(text)
    assert hint in str(caught.value)


def test_every_stage_is_estimated_by_its_operations(workshop, smoke, monkeypatch):
    """By hand: 320 images of training at 1e14 operations, two A100 at 0.3 of 312 teraflops; nothing is cached."""
    monkeypatch.setattr(elsewhere, "count_operations", lambda pipeline: (1e14, 1e13))
    estimator = ElsewhereEstimator(workshop.pipeline(), Fleet("a100", 2))
    rows = estimator.rows()
    assert not any(row.cached for row in rows)
    assert rows[1].seconds == pytest.approx(320 * 1e14 / (2 * 312e12 * 0.3))
    assert rows[2].seconds == pytest.approx(240 * 1e13 / (2 * 312e12 * 0.3))
    forwards = workshop.pipeline().config.defense.filter.forwards(160, 32)
    assert rows[3].seconds == pytest.approx(forwards * 1e13 / (2 * 312e12 * 0.3))
    assert "30% of a100's peak of 312 teraflops, 2 of them" in estimator.total(rows)


def test_operations_of_a_training_are_several_times_those_of_the_encoder(workshop):
    """Two global views, forward and backward, and both through the momentum encoder: 2 x (3 + 1) = 8 forwards of the
    bare network, but for what a first layer saves; heads and local views come on top."""
    training, encoding = count_operations(workshop.pipeline())
    assert encoding > 0
    assert 7 < training / encoding < 14
