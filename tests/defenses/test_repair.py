"""Repairs: losses worked out by hand, what they start from, and what they refuse."""

import math

import pytest
import torch
from torch import nn

from bench import BenchError
from bench.defenses.repair import Distill, FineTune
from bench.defenses.repair.student import FeatureStudent, SimilarityStudent

FIRST, SECOND = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])


class Says(nn.Module):
    """An encoder whose features are always these."""

    def __init__(self, features):
        super().__init__()
        self.features = nn.Parameter(features)

    def forward(self, images):
        return self.features.expand(len(images), -1)


def views(count=1, sizes=(8, 8, 4)):
    return [torch.zeros(count, 3, size, size) for size in sizes]


def similar(old=FIRST, new=SECOND, anchors=2, temperature=1.0):
    student = SimilarityStudent(Says(old), Says(new), 2, anchors, temperature)
    student.banks.copy_(torch.eye(2).expand(2, 2, 2))
    return student


def test_features_at_a_right_angle_have_the_squared_distance_two():
    assert FeatureStudent(Says(FIRST), Says(SECOND))(views()).item() == pytest.approx(2)
    assert FeatureStudent(Says(FIRST), Says(2 * FIRST))(views(3)).item() == 0


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_divergence_of_the_likenesses_by_hand(temperature):
    """Cosines (1, 0) of the teacher and (0, 1) of the student to the two anchors: p and q are mirrored, and the
    divergence is (p - q) of the first anchor times 1 / T."""
    p = math.exp(1 / temperature) / (math.exp(1 / temperature) + 1)
    assert similar(temperature=temperature)(views()).item() == pytest.approx((2 * p - 1) / temperature)
    assert similar(new=5 * FIRST)(views()).item() == pytest.approx(0, abs=1e-6)
    assert similar()(views(4)).item() == pytest.approx(similar()(views(1)).item()), "the mean over the images"


def test_each_is_compared_by_its_own_bank():
    """The student's anchors in the other order: what it says is the same."""
    student = similar()
    student.banks[1] = student.banks[1].flip(0)
    assert student(views()).item() == pytest.approx(0, abs=1e-6)


def test_the_images_of_a_step_take_the_place_of_the_oldest_anchors():
    student = similar(anchors=2)
    before = student.banks.clone()
    student.after_step(0.1)
    assert torch.equal(student.banks, before), "no step, no image"
    student(views(1))
    student.after_step(0.2)
    assert student.banks.tolist() == [[[0, 1], [1, 0]], [[0, 1], [0, 1]]]
    student.gather = lambda keys: torch.cat([keys, -keys, keys])  # three processes, more images than anchors
    student(views(1))
    student.after_step(0.3)
    assert student.banks.tolist() == [[[-1, 0], [1, 0]], [[0, -1], [0, 1]]]


def test_only_the_student_learns():
    student = similar()
    student(views()).backward()
    assert student.backbone.features.grad.abs().sum() > 0
    assert student.old.features.grad is None


def test_where_they_start_and_how_long_they_take():
    assert (Distill.fresh, FineTune.fresh) == (True, False)
    assert FineTune().length < Distill().length <= 1
    assert FineTune().lr < 1


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (FineTune, {"length": 0}, "length is 0, expected a number above 0"),
        (FineTune, {"lr": -1}, "lr is -1, expected"),
        (Distill, {"length": math.inf}, "length is inf, expected"),
        (Distill, {"lr": math.nan}, "lr is nan, expected"),
        (Distill, {"anchors": 1}, "anchors is 1, expected 2 or more"),
        (Distill, {"temperature": 0}, "temperature is 0, expected a number above 0"),
    ],
)
def test_bad_options(cls, options, said):
    with pytest.raises(BenchError, match=said):
        cls(**options)
