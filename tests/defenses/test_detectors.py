"""Detectors on images with a planted patch and an encoder that a patch moves: scores by hand, and what they tell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from bench.api import Verdict
from bench.defenses.baselines.colour import Colour
from bench.defenses.detectors.colour import ColourTest
from bench.defenses.detectors.encode import unit_features
from bench.defenses.detectors.masking import Masking, mean_colour, widest_radius
from bench.defenses.detectors.recur_templates import RecurTemplates
from bench.defenses.detectors.strip import Strip
from bench.errors import BenchError
from bench.plugins.contract.toys import ToyView
from bench.seeds import Seeds

SIZE = 16


class Bright(nn.Module):
    """Features: the mean of each channel, and 50 where the upper left pixel is (nearly) white: a backdoor."""

    def forward(self, images):
        trigger = (images[:, :, 0, 0] > 0.9).all(1).float() * 50
        return torch.cat([images.mean((2, 3)), trigger[:, None]], 1)


class Backdoored:
    dim, device = 4, torch.device("cpu")

    def __init__(self):
        self.module = Bright()

    def prepare(self, images):
        return images.float() / 255 if images.dtype == torch.uint8 else images.float()

    def __call__(self, images):
        with torch.no_grad():
            return self.module(self.prepare(images))


def pictures(seed, count=30):
    """Dim noise of a colour of each image's own."""
    draw = np.random.default_rng(seed)
    base = draw.integers(20, 90, (count, 3, 1, 1))
    return torch.from_numpy((base + draw.integers(0, 20, (count, 3, SIZE, SIZE))).astype(np.uint8))


@pytest.fixture
def views():
    """(view, known): of the view every other image has a white corner."""
    images = pictures(1)
    images[::2, :, :4, :4] = 255
    return tuple(ToyView(each, encoder=Backdoored()) for each in (images, pictures(2)))


def test_strip_is_the_mean_cosine_with_the_blends_worked_out_one_by_one(views):
    view, known = views
    found = Strip(blends=5).score(view, known)
    drawn = np.sort(view.seeds("blends").numpy().choice(30, 5, replace=False))
    for index in (0, 1):
        own = view.encoder(view.batch([index]))[0].double()
        cosines = []
        for other in drawn:
            blend = (view.batch([index])[0].int() + known.batch([other])[0].int()).clamp(max=255).to(torch.uint8)
            moved = view.encoder(blend[None])[0].double()
            cosines.append(float(own @ moved / own.norm() / moved.norm()))
        assert found[index] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert found[::2].min() > found[1::2].max(), "blends of a triggered image stay where it is"


def test_masking_jumps_where_the_corner_is_covered(views):
    found = Masking(steps=8, orders=2, cells=4).score(*views)
    assert found[::2].min() > found[1::2].max()


def test_masks_grow_by_whole_cells_to_the_share_that_is_wanted():
    masks = Masking(steps=5, cells=4, most=0.75).masks(SIZE, Seeds(1))
    assert masks.sum((1, 2)).tolist() == [0, 48, 96, 144, 192]  # of 256 pixels; a cell has 16
    assert all(bool((small <= large).all()) for small, large in itertools.pairwise(masks))
    cell = masks[1].reshape(4, 4, 4, 4).float().mean((1, 3))
    assert set(cell.flatten().tolist()) == {0.0, 1.0}


def test_the_widest_radius_is_that_at_which_dbscan_still_finds_two_clusters():
    """On the unit circle at 0, 1, 2 and 90, 91 degrees, and one alone at 45: two groups of two or more join at 43
    degrees by way of the one alone, whose merge with a group is none of two such groups, until the other comes."""
    from sklearn.cluster import DBSCAN

    def circle(*degrees):
        angle = np.deg2rad(degrees)
        return np.stack([np.cos(angle), np.sin(angle)], 1)

    path = circle(0, 1, 2, 90, 91)
    radius = widest_radius(path)
    assert radius == pytest.approx(1 - np.cos(np.deg2rad(88)))
    for share, clusters in ((0.99, 2), (1.01, 1)):
        labels = DBSCAN(eps=share * radius, min_samples=2, metric="cosine").fit(path).labels_
        assert len(set(labels) - {-1}) == clusters
    assert widest_radius(circle(0, 1, 2, 45, 90, 91)) == pytest.approx(1 - np.cos(np.deg2rad(45)))
    assert widest_radius(circle(0, 90, 180)) == 0.0, "no two are together"


def test_recur_templates_are_made_again_when_the_search_is_another(monkeypatch):
    before = RecurTemplates().identity()
    monkeypatch.setattr("bench.defenses.recur.recur.EDITION", "another")
    assert RecurTemplates().identity() == before | {"edition": "another"}


def test_recur_templates_match_what_the_search_found_and_are_zero_where_it_found_nothing(monkeypatch, views):
    view, known = views
    monkeypatch.setattr("bench.defenses.recur.Recur.triggers", lambda self, view: [])
    assert RecurTemplates().score(view, known).tolist() == [0.0] * 30


def test_colour_test_is_the_baseline_s_score(views):
    view, known = views
    verdict = Colour().clean(view)
    assert isinstance(verdict, Verdict)
    assert ColourTest().score(view, known).tolist() == verdict.score.tolist()


def test_parts():
    known = ToyView(torch.full((3, 3, 4, 4), 51, dtype=torch.uint8))
    assert mean_colour(known).tolist() == pytest.approx([0.2] * 3)
    features = unit_features(Backdoored(), pictures(3, 20))
    assert features.norm(dim=1).tolist() == pytest.approx([1.0] * 20)
    for wrong, what in (({"steps": 3}, "steps is 3"), ({"most": 1.0}, "most is 1.0"), ({"cells": 1}, "cells is 1")):
        with pytest.raises(BenchError, match=what):
            Masking(**wrong)
    with pytest.raises(BenchError, match="blends is 0"):
        Strip(blends=0)
