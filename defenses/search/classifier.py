"""The poison classifier (paper IV-D, PatchSearch): an ensemble of small ResNets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bench import Arrays, BenchError, Seeds, View, at_once, augment

from .defaults import SMALL, Scale
from .flip_test import cut

BATCH = 32
CHECK_EVERY = 20  # iterations
FLAT_CHECKS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """What members learn from.

    patches: candidate triggers (k, 3, w, w) uint8; pool: indices of the training images; held_out: images
    (2k, 3, S, S) uint8, with truth (2k,) bool: the top k count as poisoned, the bottom k as clean.
    """

    patches: Tensor
    pool: NDArray[np.int64]
    held_out: Tensor
    truth: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EnsembleScores:
    """Mean logit of poison over the members (N,) float64, and each member's F1 at every check."""

    margin: NDArray[np.float64]
    f1: list[list[float]]

    @property
    def probability(self) -> NDArray[np.float64]:
        """The sigmoid of the margin: over 0.5 where the margin is over 0, and in its order."""
        return torch.tensor(self.margin).sigmoid().numpy()  # exact far below 0 too


@dataclass(frozen=True, eq=False)
class Split:
    """Indices: `top` and `bottom` k of the scored are held out, `pool` is everything left to train on."""

    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    pool: NDArray[np.int64]


def split(
    count: int,
    indices: NDArray[np.int64],
    scores: NDArray[np.int64] | NDArray[np.float64],
    top_k: int,
    leave_out: float,
) -> Split:
    """Rank the scored images (of equal scores the lower index first) and divide the `count` images.

    pool = all but the highest `leave_out` share of the SCORED images ([?] of them, not of all: at the paper's
    size 10 % of all is more than were scored) and but the top and bottom k. Raises BenchError where too few
    are left.
    """
    if len(indices) < 2 * top_k:
        raise BenchError(
            f"The search scored only {len(indices)} of {count} images, but top_k={top_k} takes the top and "
            f"the bottom {top_k} of them: lower `top_k`, raise `clusters` or `samples`, or see whether the "
            "encoder gives all images nearly the same features"
        )
    ranked = indices[np.lexsort((indices, -scores))]
    top, bottom = ranked[:top_k], ranked[-top_k:]
    suspects = ranked[: int(np.ceil(leave_out * len(ranked)))]
    pool = np.setdiff1d(np.arange(count), np.concatenate([top, bottom, suspects]))
    if len(pool) < BATCH:
        raise BenchError(
            f"Only {len(pool)} of {count} images are left to train the poison classifier, which needs "
            f"{BATCH}: lower `leave_out` or `top_k`, or give more images"
        )
    return Split(top, bottom, pool)


def ensemble(view: View, lesson: TrainingData, settings: Scale, members: int) -> EnsembleScores:
    """Train `members` networks, each a saved step, and let them judge every image of the view."""
    drawn = [build(view.size, view.seeds("classifier", i, "weights").value) for i in range(members)]
    calls = [partial(_member, view, lesson, settings, i, drawn) for i in range(members)]
    kept = at_once(calls, view.device)
    histories = [arrays["f1"].tolist() for arrays in kept]
    networks = [_restore(arrays, view) for arrays in kept]
    judged = view.step("classifier-judgement", lambda: {"margin": judge(view, networks, settings.batch)})
    return EnsembleScores(judged["margin"], histories)


def _member(view: View, lesson: TrainingData, settings: Scale, number: int, drawn: Sequence[nn.Module]) -> Arrays:
    name, seeds = f"poison classifier {number + 1} of {len(drawn)}", view.seeds("classifier", number)
    return view.step(f"classifier-{number}", lambda: train(view, lesson, settings, seeds, drawn[number], name))


def train(view: View, lesson: TrainingData, settings: Scale, seeds: Seeds, network: nn.Module, name: str) -> Arrays:
    """One member, which begins as `network`: its weights by name, and "f1", the held-out F1 at every check (every 20
    batches).

    SGD (0.01), momentum 0.9, weight decay 1e-4, cosine to 0 [PS]. Half of each batch of 32 is positive. Stops
    early when F1 has been the same, and not 0, at 10 checks in a row ([?] "flat"; a member that has found
    nothing yet continues).
    """
    network = network.to(view.device)
    optimiser = torch.optim.SGD(network.parameters(), lr=settings.learning_rate, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.iterations)
    truth = (torch.arange(BATCH, device=view.device) < BATCH // 2).float()
    patches = lesson.patches.to(view.device).float() / 255
    history: list[float] = []
    for iteration, images in enumerate(_batches(view, lesson, settings, patches, seeds)):
        network.train()
        with _autocast(view.device):
            logits = network(images)
        optimiser.zero_grad()
        loss = binary_cross_entropy_with_logits(logits.float().squeeze(1), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if (iteration + 1) % CHECK_EVERY == 0 or iteration + 1 == settings.iterations:
            found = _logits(network, lesson.held_out.to(view.device)).cpu().numpy() > 0
            history.append(f1_score(lesson.truth, found))
            view.progress(name, iteration + 1, settings.iterations)
            if _flat(history):
                break
    weights = {key: value.detach().cpu().numpy() for key, value in network.state_dict().items()}
    return {**weights, "f1": np.array(history)}


def _batches(view: View, lesson: TrainingData, settings: Scale, patches: Tensor, seeds: Seeds) -> Iterator[Tensor]:
    """Training batches (32, 3, S, S), normalised; batch i depends on `seeds` and i alone. Half is pasted on."""
    for iteration in range(settings.iterations):
        generator = seeds.child(iteration).torch()
        picked = torch.randint(len(lesson.pool), (BATCH,), generator=generator).numpy()
        images = view.batch(lesson.pool[picked]).to(view.device).float() / 255
        yield _standard(_augment(images, patches, settings, generator))


def _augment(images: Tensor, patches: Tensor, settings: Scale, generator: Generator) -> Tensor:
    half = len(images) // 2
    cropped = augment.random_resized_crop(images, generator)
    chosen = torch.randint(len(patches), (half,), generator=generator).to(patches.device)
    pasted = torch.cat([patches[chosen], _random_windows(images[:half], patches.shape[-1], generator)])
    whole = torch.where(augment.some(images, settings.crops, generator), cropped, images)
    marked = augment.paste_resized(
        whole, pasted, generator, sizes=(settings.patch_min, settings.patch_max), margin=settings.margin
    )
    decoy = augment.some(images[half:], settings.decoys, generator)
    negatives = torch.where(decoy, marked[half:], whole[half:])
    jittered = augment.colour_jitter(torch.cat([marked[:half], negatives]), generator)
    return augment.random_flip(augment.random_grey(jittered, generator), generator)


def _random_windows(images: Tensor, window: int, generator: Generator) -> Tensor:
    """One window from anywhere in each image: (B, 3, window, window)."""
    corners = torch.randint(images.shape[-1] - window + 1, (len(images), 2), generator=generator)
    return cut(images, torch.cat([corners, torch.full_like(corners, window)], dim=1).to(images.device))


def build(size: int, seed: int) -> nn.Module:
    """A ResNet with one basic block per stage and one logit; its weights come from `seed` alone.

    Under 128 px: a stem of 3x3 convolutions that halves the image once (no pooling), widths 16 to 128, so
    that the smallest trigger cells are still resolved; at 32 px it is also what a CPU trains in seconds.
    """
    import timm

    small: dict[str, Any] = {}
    if size < SMALL:
        small = {"stem_type": "deep", "stem_width": 8, "channels": (16, 32, 64, 128)}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed every GPU
        network: nn.Module = timm.create_model("resnet18", layers=(1, 1, 1, 1), num_classes=1, **small)
    if size < SMALL:
        network.maxpool = nn.Identity()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def f1_score(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """2 TP / (2 TP + FP + FN), in [0, 1]; 0 where nothing is true or found."""
    hits = int((truth & found).sum())
    total = int(truth.sum()) + int(found.sum())
    return 2 * hits / total if total else 0.0


def _flat(history: list[float]) -> bool:
    last = history[-FLAT_CHECKS:]
    return len(last) == FLAT_CHECKS and last[0] > 0 and len(set(last)) == 1


def judge(view: View, networks: list[nn.Module], batch: int) -> NDArray[np.float64]:
    """Mean over the members of the logit that each image, as it is, is poisoned: (N,).

    As the public PatchSearch does; the mean of probabilities would let a sure member count no more than an unsure one.
    """
    margin = np.empty(len(view))
    for start in range(0, len(view), batch):
        stop = min(start + batch, len(view))
        images = view.batch(np.arange(start, stop)).to(view.device)
        votes = torch.stack([_logits(network, images) for network in networks])
        margin[start:stop] = votes.double().mean(0).cpu().numpy()
        view.progress("judging images", stop, len(view))
    return margin


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    network.eval()
    with torch.inference_mode(), _autocast(images.device):
        logits: Tensor = network(_standard(images.float() / 255))
        return logits.float().squeeze(1)


def _standard(images: Tensor) -> Tensor:
    return ((images - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


def _autocast(device: torch.device) -> torch.autocast:
    """bf16 on a GPU; on the CPU it was measured to gain nothing on networks this small."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _restore(arrays: Arrays, view: View) -> nn.Module:
    network = build(view.size, 0)
    network.load_state_dict({key: torch.tensor(value) for key, value in arrays.items() if key != "f1"})
    return network.to(view.device)
