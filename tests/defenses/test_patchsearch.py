"""PatchSearch on a planted example worked out by hand."""

import dataclasses

import numpy as np
import torch
from torch import nn

from bench.defenses import PatchSearch
from bench.defenses.search.clusters import Clustering, Clusters
from bench.defenses.search.iterate import Search


class Weighted(nn.Module):
    """Features (mean red, 4 x mean green, 16 x mean blue, 0.2); the layer "scaled" gives them pixel by pixel."""

    def __init__(self):
        super().__init__()
        self.scaled = nn.Identity()

    def forward(self, images):
        weights = torch.tensor([1.0, 4.0, 16.0, 0.2])[:, None, None]
        return self.scaled(torch.cat([images, torch.ones_like(images[:, :1])], 1) * weights).mean((2, 3))


BLACK, RED, GREEN, BLUE = (torch.tensor(c)[:, None, None] for c in ([0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]))


def test_windows_scores_and_rounds_by_hand(toy_view):
    """Images of 4 x 4 px, window 2 x 2, clusters black, red, green, blue; the trigger is a blue box.

    A pasted patch is a quarter of an image: it wins where its colour's weight is over three times that of what is
    below: blue on all (16/4 : 4*3/4), green on red and black, red on black (0.25 : 0.2), black on none.
    The flip set holds each cluster's image nearest to its centre, the plain one. So of the four, after the paste
    in the own cluster, less the one before: black 1 - 1, red 2 - 1, green 3 - 1, blue 4 - 1.
    Image 7 is black in the blue cluster: its black patch brings no image there, 1 - 1.
    """
    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3])
    images = torch.zeros(9, 3, 4, 4, dtype=torch.uint8)
    for index, colour in enumerate([BLACK, BLACK, RED, RED, GREEN, GREEN, BLUE, BLACK, RED]):
        images[index] = colour
    images[8, :, 1:3, 2:4] = BLUE
    centres = torch.tensor([[0, 0, 0, 1.0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    view = toy_view(images, Weighted(), 4)
    clusters = Clusters(view.encoder, centres, 64)
    distances = np.array([0, 1, 0, 1, 0, 1, 0, 9, 8], dtype=np.float32)
    defense = PatchSearch(window=2, flip_set=4, layer="scaled", margin=0, patch_min=1, patch_max=2, top_k=1)
    settings = dataclasses.replace(defense.settings(4, 9), clusters=4)
    score = defense._scorer(view, Clustering(clusters, labels, distances), settings)
    found = Search(samples=3, drop=defense.drop, cluster_score=defense.cluster_score)(view, labels, score)
    order = np.argsort(found.indices)
    assert found.indices[order].tolist() == list(range(9))
    boxes = found.boxes[order].tolist()
    assert boxes == [[0, 0, 2, 2]] * 8 + [[1, 2, 2, 2]]  # plain images: equal evidence everywhere, the first window
    assert found.scores[order].tolist() == [0, 0, 1, 1, 2, 2, 3, 0, 3]
    assert found.rounds == 4  # 4 -> 3 (25 %) -> 2 -> 1 -> 0 (25 % rounds to 0: one)
