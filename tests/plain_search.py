"""The search as the paper tells it, one image after the other, nothing shared: what every quicker way is held against.

Tests and benchmarks get it from the fixture `plain_search`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

GROUP = 32  # images whose masks and places come from one seed (defenses/search/base.py)


@dataclass
class PlainSearch:
    """PoisonCAM's parts IV-B and IV-C. at_once: the masked (or pasted) images of one image go through together."""

    encoder: Any
    centres: torch.Tensor
    flip_images: torch.Tensor
    window: int
    masks: int
    normalise: bool = False
    fill: str = "grey"
    at_once: bool = True
    before: torch.Tensor = field(init=False)

    def __post_init__(self):
        self.before = self.assign(self.flip_images)[0]
        levels = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
        self.grey = self.encoder.prepare(levels)[:, :, 0, 0].abs().argmin(0)  # of all levels the one nearest to 0

    def assign(self, images):
        """Cluster and distance of each image (equation 1)."""
        parts = [images] if self.at_once else images.split(1)
        features = torch.cat([self.encoder(part) for part in parts]).double()
        features = features / features.norm(dim=1, keepdim=True)
        distances, labels = torch.cdist(features, self.centres.double()).min(1)
        return labels, distances

    def locate(self, image, tops, lefts):
        """The candidate trigger: its box (equations 2 and 3)."""
        size, masks = image.shape[-1], []
        for top, left in zip(tops.tolist(), lefts.tolist(), strict=True):
            mask = torch.zeros(size, size, dtype=torch.bool)
            mask[
                (torch.arange(top, top + self.window) % size)[:, None], torch.arange(left, left + self.window) % size
            ] = 1
            masks.append(mask)
        labels, distances = self.assign(torch.stack([self.hide(image, mask) for mask in masks]))
        scaled = (distances - distances.min()) / (distances.max() - distances.min()).clamp_min(1e-30)
        scores = torch.where(labels != labels.bincount().argmax(), 1.0, scaled)
        heat, covered = torch.zeros(size, size, dtype=torch.double), torch.zeros(size, size)
        for score, mask in zip(scores, masks, strict=True):
            heat, covered = heat + score * mask, covered + mask.float()
        return self._hottest(heat / covered.clamp_min(1) if self.normalise else heat)

    def hide(self, image, mask):
        """The image with the pixels of the mask in the colour of `fill`."""
        means = [round(float(channel.float().mean())) for channel in image]
        hidden = image.clone()
        for channel, mean, grey in zip(hidden, means, self.grey.tolist(), strict=True):
            channel[mask] = {"grey": grey, "black": 0, "mean": mean}[self.fill]
        return hidden

    def _hottest(self, heat):
        """The first window, row by row, whose sum is the largest (to a millionth)."""
        places = heat.shape[-1] - self.window + 1
        sums = {
            (y, x): float(heat[y : y + self.window, x : x + self.window].sum())
            for y in range(places)
            for x in range(places)
        }
        most = max(sums.values())
        top, left = next(place for place, value in sums.items() if value >= most - 1e-6 * abs(most))
        return [top, left, self.window, self.window]

    def score(self, image, box, tops, lefts):
        """The poison score: how many images of the flip set change cluster with the candidate pasted on them."""
        top, left, height, width = box
        patch, pasted = image[:, top : top + height, left : left + width], []
        for under, y, x in zip(self.flip_images, tops.tolist(), lefts.tolist(), strict=True):
            changed = under.clone()
            changed[:, y : y + height, x : x + width] = patch
            pasted.append(changed)
        return int((self.assign(torch.stack(pasted))[0] != self.before).sum())

    def images(self, images, seeds):
        """Poison scores and boxes of images scored in one round."""
        found = []
        for start in range(0, len(images), GROUP):
            group, size = images[start : start + GROUP], images.shape[-1]
            masks, spots = seeds.child("locate", start).torch(), seeds.child("flip", start).torch()
            corners = [torch.randint(size, (len(group), self.masks), generator=masks) for _ in range(2)]
            places = torch.randint(size - self.window + 1, (2, len(group), len(self.flip_images)), generator=spots)
            for i, image in enumerate(group):
                box = self.locate(image, corners[0][i], corners[1][i])
                found.append((self.score(image, box, places[0, i], places[1, i]), box))
        return found

    def search(self, view, labels, *, samples, drop):
        """The iterative search: {index: (poison score, box)} in the order of scoring."""
        left = {int(cluster): [] for cluster in np.unique(labels)}
        for index in view.seeds("search", "order").numpy().permutation(len(labels)):
            left[int(labels[index])].append(int(index))
        totals, found, number = dict.fromkeys(left, 0), {}, 0
        live = sorted(left)
        while live:
            picked = [index for cluster in live for index in left[cluster][:samples]]
            for cluster in live:
                del left[cluster][:samples]
            scored = self.images(view.batch(picked), view.seeds("search", number)) if picked else []
            for index, result in zip(picked, scored, strict=True):
                found[index] = result
                totals[int(labels[index])] += result[0]
            live = sorted(sorted(live, key=lambda cluster: totals[cluster])[max(1, int(drop * len(live))) :])
            number += 1
        return found
