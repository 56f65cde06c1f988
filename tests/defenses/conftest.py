"""A small view of the world for defenses: images and an encoder that the test makes, steps kept in a dict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from bench import Seeds
from bench.parallel.rows import alone


@dataclass
class ToyEncoder:
    """Any function of float images in [0, 1] (B, 3, S, S) -> (B, dim); a module where a test asks for `module`."""

    function: object
    dim: int
    calls: int = 0
    device = torch.device("cpu")

    @property
    def module(self):
        assert isinstance(self.function, torch.nn.Module)
        return self.function

    def prepare(self, images):
        return images.float() / 255 if images.dtype == torch.uint8 else images.float()

    def __call__(self, images):
        self.calls += 1
        with torch.no_grad():
            return self.function(self.prepare(images))


@dataclass
class ToyView:
    """Implements bench.View; `stop` names a step at which it behaves like a kill."""

    images: torch.Tensor
    encoder: ToyEncoder
    root: int = 0
    kept: dict = field(default_factory=dict)
    computed: list = field(default_factory=list)
    told: list = field(default_factory=list)
    stop: str | None = None

    device = torch.device("cpu")

    @property
    def size(self):
        return self.images.shape[-1]

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        return self.images[torch.as_tensor(np.asarray(indices))].clone()

    def seeds(self, *names):
        return Seeds(self.root, *names)

    def step(self, name, compute):
        if name not in self.kept:
            if name == self.stop:
                raise KeyboardInterrupt
            self.kept[name] = {key: _frozen(value) for key, value in compute().items()}
            self.computed.append(name)
        return self.kept[name]

    def map_rows(self, make):
        return alone(make(self))

    def progress(self, what, done, total):
        assert 0 <= done <= total
        self.told.append((what, done, total))


def _frozen(array):
    """What comes back from disk may be read-only."""
    assert isinstance(array, np.ndarray)
    assert array.dtype != object
    array = array.copy()
    array.setflags(write=False)
    return array


@pytest.fixture
def toy_view():
    """toy_view(images, function, dim) -> ToyView."""

    def make(images, function, dim, **more):
        return ToyView(images, ToyEncoder(function, dim), **more)

    return make


MAGENTA, CYAN = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])
TRIGGER = torch.where(
    torch.eye(2).repeat_interleave(3, 0).repeat_interleave(3, 1).bool(), MAGENTA[:, None, None], CYAN[:, None, None]
)


@dataclass
class Planted:
    """240 images of 16 px in four colours, 24 of them `poisoned` with a 6 x 6 trigger at `places`."""

    images: torch.Tensor
    places: torch.Tensor
    poisoned: np.ndarray

    @staticmethod
    def features(images):
        """Mean colour, and how well the trigger fits at its best place: a backdoored encoder in one line."""
        template = (TRIGGER * 2 - 1)[None]
        match = torch.nn.functional.conv2d(images - 0.5, template).amax((1, 2, 3))
        return torch.cat([images.mean((2, 3)), (match[:, None] - 30).clamp_min(0) / 4], dim=1)


def _planted():
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


@pytest.fixture(scope="session")
def planted():
    """See Planted."""
    return _planted()
