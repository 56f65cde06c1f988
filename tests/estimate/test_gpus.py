"""GPUs that are not at hand, and the operations of a run."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.estimate.gpus import Fleet, count_operations, read_fleet


def test_a_fleet_is_as_fast_as_its_gpus_together():
    assert read_fleet("h200") == Fleet("h200", 1)
    assert read_fleet("4xRTX3090") == Fleet("rtx3090", 4)
    assert read_fleet("4xrtx3090").speed == pytest.approx(4 * 71e12 * 0.3)


@pytest.mark.parametrize(("text", "hint"), [("h20", "h200"), ("0xh200", "h200"), ("rtx309", "rtx3090"), ("", "a100")])
def test_unknown_gpus_are_refused_with_those_known(text, hint):
    with pytest.raises(BenchError, match="unknown GPUs") as caught:
        read_fleet(text)
    assert hint in str(caught.value)


def test_operations_of_a_training_are_several_times_those_of_the_encoder(workshop):
    """Two global views, forward and backward, and both through the momentum encoder: 2 x (3 + 1) = 8 forwards of the
    bare network, but for what a first layer saves; heads and local views come on top."""
    training, encoding = count_operations(workshop.pipeline())
    assert encoding > 0
    assert 7 < training / encoding < 14
