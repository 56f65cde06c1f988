"""Numbers worked out once from the published formulas, on small fixed inputs: loss, i-CutMix, momentum, rate."""

import math

import pytest
import torch
from torch import nn

from bench.api import Mixed
from bench.seeds import Seeds
from bench.ssl.moco_v3 import MoCoV3
from bench.ssl.schedule import Schedule
from bench.ssl.settings import TrainSettings

FIRST, SECOND = (torch.tensor(view)[:, :, None, None] for view in ([[2.0, 0], [0, 5]], [[0.6, 0.8], [0, 3]]))
"""Two views of two images of two numbers; cosines of the first with the second: 0.6 and 0; 0.8 and 1."""


def learner():
    """MoCo-v3 without heads around the identity."""
    return MoCoV3(projector=0, predictor=0, temperature=0.2).learner(nn.Flatten(), 2)


def test_the_loss_of_moco_v3():
    """ctr(q, k) = 2 T mean_i -log(exp(q_i k_i / T) / sum_j exp(q_i k_j / T)), summed over both directions.

    T 0.2. Logits of the first view against the second: (3, 0) and (4, 5), own on the diagonal:
    log(1 + e^-3) = 0.048587, log(1 + e^-1) = 0.313262, mean 0.180925. The second against the first: (3, 4) and (0, 5):
    1.313262 and 0.006715, mean 0.659988. 0.4 (0.180925 + 0.659988) = 0.336365.
    """
    assert learner()([FIRST, SECOND]).item() == pytest.approx(0.336365, abs=1e-6)


def test_the_loss_under_i_cutmix():
    """lambda ctr(q, own key) + (1 - lambda) ctr(q, partner's key); images 0 and 1 are each other's partners.

    Losses by the partner's key, from the same logits: 3.048587 and 1.313262, mean 2.180925; 0.313262 and 5.006715,
    mean 2.659988. lambda 0.75: 0.75 x 0.180925 + 0.25 x 2.180925 = 0.680925; lambda 0.9: 0.859988.
    0.4 (0.680925 + 0.859988) = 0.616365.
    """
    partners = torch.tensor([1, 0])
    mixed = Mixed(views=[FIRST, SECOND], partners=[partners, partners], weights=[0.75, 0.9])
    assert learner()([FIRST, SECOND], mixed).item() == pytest.approx(0.616365, abs=1e-6)


@pytest.mark.parametrize(
    ("done", "momentum"), [(0.25, 0.9914645), (0.5, 0.995), (0.75, 0.9985355), (1.0, 1.0), (1 / 3, 0.9925)]
)
def test_the_momentum_of_moco_v3(done, momentum):
    """m(t) = 1 - (1 - 0.99) (1 + cos(pi t)) / 2; at t = 1/4 cos is 0.7071: 1 - 0.01 x 0.85355. A slow 0 and an online 1
    become 1 - m."""
    model = MoCoV3(projector=0, predictor=0, momentum=0.99).learner(nn.Sequential(nn.Flatten(), nn.Linear(1, 1)), 1)
    nn.init.constant_(model.backbone[1].weight, 1.0)
    nn.init.constant_(model.momentum[0][1].weight, 0.0)
    model.after_step(done)
    assert model.momentum[0][1].weight.item() == pytest.approx(1 - momentum, abs=1e-7)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(10, 1.5e-4), (20, 3e-4), (40, 6e-4), (80, 5.12132e-4), (120, 3e-4), (160, 0.87868e-4)]
)
def test_the_rate_of_the_papers_training(epoch, rate):
    """1.5e-4 x 1024 / 256 = 6e-4 after 40 epochs, then 6e-4 (1 + cos(pi (epoch - 40) / 160)) / 2.

    At 80: cos(pi / 4), 6e-4 x 0.853553. Steps count from 1 in the warm-up: the last one of 10 epochs has 10/40.
    """
    schedule = Schedule(TrainSettings(epochs=200, batch=1024, lr=1.5e-4, warmup=40), 126_689, Seeds(0))
    assert schedule.steps_per_epoch == 123
    step = epoch * 123 - (epoch < 40)
    assert schedule.lr(step) == pytest.approx(rate, rel=1e-5)
    assert math.isclose(schedule.lr(0), 6e-4 / (40 * 123))
