"""A small view of the world for defenses: images and an encoder that the test makes, steps kept in a dict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from bench.plugins.contract import toys


@dataclass
class ToyEncoder:
    """Any function of float images in [0, 1] (B, 3, S, S) -> (B, dim); a module where a test asks for `module`."""

    function: object
    dim: int
    calls: int = 0
    device = torch.device("cpu")

    @property
    def module(self):
        assert isinstance(self.function, nn.Module)
        return self.function

    def prepare(self, images):
        return images.float() / 255 if images.dtype == torch.uint8 else images.float()

    def __call__(self, images):
        self.calls += 1
        with torch.no_grad():
            return self.function(self.prepare(images))


class ToyView(toys.ToyView):
    """The contract kit's, which also remembers; `stop` names a step at which it behaves like a kill."""

    def __init__(self, images, encoder, root=0, stop=None):
        super().__init__(images, encoder=encoder, seed=root)
        self.stop, self.computed, self.told = stop, [], []

    def step(self, name, compute):
        new = name not in self.notebook
        if new and name == self.stop:
            raise KeyboardInterrupt
        found = super().step(name, compute)
        self.computed += [name] * new
        for value in found.values():
            value.setflags(write=False)  # as what comes back from a disk may be
        return found

    def progress(self, what, done, total):
        super().progress(what, done, total)
        self.told.append((what, done, total))


@pytest.fixture(scope="session")
def toy_view():
    """toy_view(images, function, dim) -> ToyView."""
    return lambda images, function, dim, **more: ToyView(images, ToyEncoder(function, dim), **more)


MAGENTA, CYAN = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])
BOARD = torch.eye(2).repeat_interleave(3, 0).repeat_interleave(3, 1).bool()
TRIGGER = torch.where(BOARD, MAGENTA[:, None, None], CYAN[:, None, None])


class Backdoored(nn.Module):
    """Mean colour, and how well the trigger fits at its best place (the layer "match" says where)."""

    def __init__(self):
        super().__init__()
        self.match = nn.Identity()

    def forward(self, images):
        images = images.float()
        match = self.match(nn.functional.conv2d(images - 0.5, (TRIGGER * 2 - 1)[None])).amax((1, 2, 3))
        return torch.cat([images.mean((2, 3)), (match[:, None] - 30).clamp_min(0) / 4], dim=1)


@dataclass
class Planted:
    """240 images of 16 px in four colours, 24 of them `poisoned` with a 6 x 6 trigger at `places`."""

    images: torch.Tensor
    places: torch.Tensor
    poisoned: np.ndarray
    features = Backdoored()


@pytest.fixture(scope="session")
def planted():
    """See Planted."""
    rng = np.random.default_rng(5)
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 60]])
    images = colours[np.arange(240) % 4][:, :, None, None] + rng.integers(-25, 26, (240, 3, 16, 16))
    places = rng.integers(0, 11, (24, 2))
    for image, (top, left) in zip(images, places, strict=False):
        image[:, top : top + 6, left : left + 6] = TRIGGER.numpy() * 255
    images = images.astype(np.uint8)
    digests = [hashlib.blake2b(image.tobytes(), digest_size=8).digest()[::-1] for image in images]
    order = np.array(sorted(range(240), key=digests.__getitem__))  # by content, as the harness shows images
    poisoned = order < 24
    return Planted(torch.tensor(images[order]), torch.tensor(places[order[poisoned]]), poisoned)
