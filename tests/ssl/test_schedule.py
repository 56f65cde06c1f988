"""Steps, learning rates and the order of images."""

import math

import numpy as np
import pytest

from bench.defenses.repair import FineTune
from bench.seeds import Seeds
from bench.ssl.schedule import Schedule, shortened
from bench.ssl.settings import TrainSettings


def plan(count=10, seed=0, **settings):
    """Ten images in batches of 4: 2 steps an epoch; a peak rate of 4."""
    return Schedule(
        TrainSettings(**{"epochs": 3, "batch": 4, "lr": 256.0, "warmup": 1, **settings}), count, Seeds(seed)
    )


def rates(schedule):
    return [schedule.lr(step) for step in range(schedule.steps)]


def test_warm_up_and_cosine_by_hand():
    cosine = [4 * 0.5 * (1 + math.cos(math.pi * part)) for part in (0, 1 / 4, 2 / 4, 3 / 4)]
    assert rates(plan()) == pytest.approx([2, 4, *cosine])
    assert cosine == pytest.approx([4, 3.41421, 2, 0.58579], abs=1e-5)
    assert rates(plan(warmup=0, epochs=1)) == pytest.approx([4, 2]), "without a warm-up it starts at the peak"


def test_warm_up_may_last_parts_of_an_epoch_and_never_overshoots():
    assert rates(plan(warmup=1.5))[:4] == pytest.approx([4 / 3, 8 / 3, 4, 4])
    assert rates(plan(warmup=1.25))[:3] == pytest.approx([1.6, 3.2, 4])
    assert rates(plan(warmup=0.25))[0] == pytest.approx(4)
    assert max(rates(plan(count=28, epochs=5, warmup=1.9))) <= 4


def test_steps_fractions_and_a_rate_that_scales_with_the_batch():
    schedule = plan()
    assert (schedule.steps_per_epoch, schedule.steps) == (2, 6)
    assert [schedule.fraction(step) for step in (0, 3, 6)] == [0, 0.5, 1]
    assert plan(batch=8, warmup=0, count=16).lr(0) == 2 * plan(batch=4, warmup=0, count=16).lr(0) == 8


def test_max_steps_ends_early_and_changes_nothing_before():
    short, whole = plan(max_steps=3), plan()
    assert short.steps == 3
    assert rates(short) == rates(whole)[:3]
    assert [short.indices(s).tolist() for s in range(3)] == [whole.indices(s).tolist() for s in range(3)]
    assert plan(max_steps=99).steps == 6


@pytest.mark.parametrize("count", [12, 10])
def test_an_image_comes_at_most_once_an_epoch_and_the_last_incomplete_batch_is_dropped(count):
    schedule = plan(count=count)
    for epoch in range(3):
        seen = np.concatenate([schedule.indices(count // 4 * epoch + step) for step in range(count // 4)])
        assert len(set(seen.tolist())) == count // 4 * 4
        assert set(seen.tolist()) <= set(range(count))


def test_a_batch_depends_on_seed_and_step_alone():
    forward = [plan(count=64).indices(step).tolist() for step in range(48)]
    backward = [plan(count=64).indices(step).tolist() for step in reversed(range(48))]
    assert forward == backward[::-1]
    assert forward[:16] != forward[16:32]
    assert forward != [plan(count=64, seed=1).indices(step).tolist() for step in range(48)]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"batch": 1}, "batch must be 2 or more"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": math.nan}, "lr must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay 0 or more"),
        ({"warmup": 4}, r"warmup must lie in \[0, 3\]"),
        ({"max_steps": 0}, "max_steps must be 1 or more"),
    ],
)
def test_settings_that_cannot_run(bad, said):
    with pytest.raises(ValueError, match=said):
        plan(**bad)


def test_a_precision_given_as_a_number():
    assert TrainSettings(precision=32) == TrainSettings(precision="32")


@pytest.mark.parametrize(
    ("kept", "devices", "length", "expected"),
    [
        (100, 1, 0.5, (4, 16, 0.5)),  # 8 epochs of 6 batches of 16 are 768 images, half of it 4 epochs of 96
        (50, 1, 0.5, (8, 16, 1.0)),  # an epoch of 48
        (10, 1, 1.0, (77, 10, 9.625)),  # one batch of 10: 76.8 epochs
        (10, 4, 1.0, (96, 8, 12.0)),  # that four devices can share
        (100, 1, 0.001, (1, 16, 0.125)),  # never none
    ],
)
def test_a_repair_sees_its_share_of_the_images_that_the_first_training_saw(kept, devices, length, expected):
    train = TrainSettings(epochs=8, batch=16, lr=2.0, warmup=1)
    found = shortened(train, FineTune(length=length, lr=0.25), kept, 100, devices)
    assert (found.epochs, found.batch, found.warmup) == expected
    assert found.lr == 0.5
    assert (found.weight_decay, found.optimiser) == (train.weight_decay, train.optimiser)
