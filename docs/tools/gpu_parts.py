"""What docs/tools/gpu_check.py measures on a GPU: `python docs/tools/gpu_parts.py PART DEVICE [--tiny]`.

A part is a function. Each yields what it has measured as soon as it has it; that is a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
Found = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """The device, and whether sizes are so small that a CPU is done in seconds."""

    device: str
    tiny: bool

    def size(self, usual: int, tiny: int) -> int:
        return tiny if self.tiny else usual


def timed(run: Callable[[], object], asked: Asked, times: int = 5) -> float:
    """Seconds of one call: the median of `times`, after one that warms up."""
    import torch

    found = []
    for _ in range(times + 1):
        start = time.perf_counter()
        run()
        if asked.device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def clouds(count: int, size: int) -> Tensor:
    """Random images of smooth colours under noise, uint8 (count, 3, size, size)."""
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(size)
    coarse = torch.rand(count, 3, 7, 7, generator=generator)
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear")
    noise = 0.04 * torch.randn(count, 3, size, size, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).byte()


def tests(asked: Asked) -> Found:
    """The tests marked gpu."""
    if asked.tiny:  # the dry run is itself a test
        yield {"tests": "left out of the dry run"}
        return
    # -P: the checkout's own `bench` has no bench.defenses; no options of pyproject.toml, whose plugins may be missing.
    words = [sys.executable, "-P", "-m", "pytest", "-m", "gpu", "-q", "-o", "addopts=", "--import-mode=importlib"]
    words += ["-p", "no:cacheprovider", "tests/docs/test_gpu_check.py"]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    yield {"exit_code": done.returncode, "summary": (done.stdout.strip().splitlines() or [""])[-1]}


def peak(asked: Asked) -> Found:
    """Matrix products: TFLOP/s by precision."""
    import torch

    side = asked.size(8192, 128)
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        one, two = torch.rand(2, side, side, device=asked.device).to(dtype)
        seconds = timed(lambda one=one, two=two: one @ two, asked)
        yield {f"{name}_tflops": 2 * side**3 / seconds / 1e12}


def equality(asked: Asked) -> Found:
    """CPU against device: features, assignments, masks, scores. ok: within tolerance."""
    import torch

    from bench import Seeds
    from bench.defenses.search.clusters import Clusters, nearest
    from bench.defenses.search.flip_test import FlipTest, cut
    from bench.defenses.search.masking import ActivationMasking
    from bench.ssl.backbone import build
    from bench.ssl.encoder import FrozenEncoder

    count = asked.size(128, 12)
    images = clouds(count, 32)
    features, maps, boxes, scores, labels = {}, {}, {}, {}, {}
    for device in ("cpu", asked.device):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module, dim = build("resnet18", {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128]}, 32, "small")
        encoder, here = FrozenEncoder(module, dim, torch.device(device)), images.to(device)
        found = torch.nn.functional.normalize(encoder(here))
        if device == "cpu":
            centres = found[:8].clone()
        clusters = Clusters(encoder, centres.to(device), 1024)
        locator = ActivationMasking(clusters=clusters, window=9, masks=asked.size(256, 8), normalise=True)
        own = nearest(found, clusters.centres)[0]
        heat, where = locator.maps(here, own, Seeds(1)), locator(here, own, Seeds(1))
        flip = FlipTest(clusters, here[: count // 2])
        # The CPU's windows on both, so that a tie in the maps does not become another patch.
        boxes[device] = where.cpu()
        scored = flip(cut(here, boxes["cpu"].to(device)), own, Seeds(2))
        features[device], labels[device], maps[device] = found.cpu(), own.cpu(), heat.cpu()
        scores[device] = scored.cpu().float()
    here, there = "cpu", asked.device
    off = float((features[here] - features[there]).abs().max())
    yield {"features_off": off, "features_ok": off < 1e-4}
    same = float((labels[here] == labels[there]).float().mean())
    yield {"assignments_same": same, "assignments_ok": same >= 0.99}
    near = float(((boxes[here] - boxes[there]).abs().amax(1) <= 1).float().mean())
    heat_off = float((maps[here] - maps[there]).abs().mean())
    yield {"maps_off": heat_off, "windows_within_1_px": near, "windows_ok": near >= 0.95}
    flips_off = float((scores[here] - scores[there]).abs().mean()) / (count // 2)
    yield {"scores_off": flips_off, "scores_ok": flips_off < 0.01}


def k_means(asked: Asked) -> Found:
    """faiss on the CPU and, where it is faiss-gpu, on the card: seconds, and inertia per row."""
    import faiss
    import numpy as np
    import torch

    from bench.defenses.search.clusters import k_means as learn, nearest

    rows, clusters = asked.size(127_000, 400), asked.size(1000, 5)
    features = np.random.default_rng(0).standard_normal((rows, asked.size(768, 16)), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    cards = faiss.get_num_gpus() if asked.device != "cpu" else 0
    yield {"rows": rows, "clusters": clusters, "dimensions": features.shape[1], "faiss_gpus": cards}
    on_device = torch.tensor(features, device=asked.device)
    for name, gpu in (("gpu", True),) * bool(cards) + (("cpu", False),):
        start = time.perf_counter()
        centres = torch.tensor(learn(features, clusters, 0, gpu=gpu), device=asked.device)
        seconds = time.perf_counter() - start
        parts = [nearest(part, centres)[1].square().sum() for part in on_device.split(4096)]
        yield {f"seconds_{name}": seconds, f"inertia_{name}": float(sum(parts)) / rows}


def train_cifar10(asked: Asked) -> Found:
    """Steps of the preset cifar10."""
    small = ["encoder.options={layers=[1,1,1,1],channels=[8,8,8,8]}"] if asked.tiny else []
    yield from training(asked, "cifar10", asked.size(512, 4), 32, small)


def train_paper(asked: Asked) -> Found:
    """Steps of the preset paper-imagenet100, in batches of 256."""
    small = ["encoder.backbone=vit_tiny_patch16_224"] if asked.tiny else []
    yield from training(asked, "paper-imagenet100", asked.size(256, 2), asked.size(224, 32), small)


def training(asked: Asked, preset: str, batch: int, size: int, settings: Sequence[str] = ()) -> Found:
    """Steps of a training: images a second, share of the peak of a bf16 matrix product, memory."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bench.config.config import load_config
    from bench.data.images import ArrayImages
    from bench.estimate.pace import trial_job
    from bench.plugins.manager import Plugins
    from bench.ssl.train import pretrain

    steps, threads = asked.size(8, 3), ["threads=1"] if asked.tiny else []
    config = load_config(Plugins.load(), preset, choices={"dataset": "scenes"}, settings=[*settings, *threads])
    images = ArrayImages(clouds(2 * batch, size).numpy())

    def run(count: int) -> list[float]:
        ticks: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            job = trial_job(config, images, batch, count, Path(folder))
            pretrain(job, lambda *_: ticks.append(time.perf_counter()), 1, asked.device)
        return ticks

    seconds = statistics.median(later - earlier for earlier, later in pairwise(run(steps)[1:]))
    yield {"batch": batch, "size": size, "images_per_second": batch / seconds}
    if asked.device == "cuda":
        yield {"memory_gib": torch.cuda.max_memory_allocated() / 2**30}
    with FlopCounterMode(display=False) as counter:
        run(1)
    side = asked.size(8192, 128)
    one, two = torch.rand(2, side, side, device=asked.device).bfloat16()
    highest = 2 * side**3 / timed(lambda: one @ two, asked)
    flops = counter.get_total_flops()
    yield {"gigaflops_per_image": flops / batch / 1e9, "share_of_peak": flops / seconds / highest}


def search(asked: Asked) -> Found:
    """PoisonCAM's search of 64 images at 224 px behind a random ViT-B/16, exact and quicker."""
    import numpy as np
    import torch

    from bench import Seeds
    from bench.data.images import ArrayImages
    from bench.defenses import PoisonCAM
    from bench.defenses.search.halving import SEEN
    from bench.isolation.view import DefenderView
    from bench.ssl.backbone import build
    from bench.ssl.encoder import FrozenEncoder

    size, count, scored = asked.size(224, 32), asked.size(256, 40), asked.size(64, 4)
    torch.manual_seed(0)
    module, dim = build("vit_tiny_patch16_224" if asked.tiny else "vit_base_patch16_224", {}, size)
    encoder = FrozenEncoder(module, dim, torch.device(asked.device))
    images = ArrayImages(clouds(count, size).numpy())
    for name in ("fast", "bf16", "folded", "exact"):  # a cut comes last
        options = {"masks": 8, "flip_set": 8} if asked.tiny else {"flip_set": 256}
        defense = PoisonCAM(clusters=8, top_k=5, search=name, **options)
        view = DefenderView(
            images,
            name="search",
            encoder=lambda device: encoder,
            seeds=Seeds(0),
            device=torch.device(asked.device),
            step=lambda name, compute: compute(),
        )
        clustering, settings = defense._clustered(view)
        score = defense._scorer(view, clustering, settings)
        start = time.perf_counter()
        score(np.arange(scored), Seeds(1), lambda done: None)
        seconds = time.perf_counter() - start
        each = defense.encoded(size, settings.window) + (SEEN[0] if name == "fast" else settings.flip_set)
        yield {f"{name}_seconds": seconds, f"{name}_passes_per_second": scored * each / seconds}


def recur(asked: Asked) -> Found:
    """`recur` without an encoder on 20,000 generated images of 32 px, of which 60 bear a patch. On the CPU."""
    import numpy as np
    import torch

    from bench import Seeds
    from bench.data.images import ArrayImages
    from bench.defenses.recur import Recur
    from bench.isolation.view import DefenderView

    count = asked.size(20_000, 150)
    images, rng = clouds(count, 32), np.random.default_rng(0)
    cells = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(1))
    patch = (cells.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, 1:11, 1:11] * 255).byte()
    planted = np.sort(rng.permutation(count)[: asked.size(60, 25)])
    for index, (top, left) in zip(planted, rng.integers(0, 23, (len(planted), 2)), strict=True):
        images[index, :, top : top + 10, left : left + 10] = patch

    def step(name: str, compute: Callable[[], Any]) -> Any:
        return compute()

    view = DefenderView(
        ArrayImages(images.numpy()), name="recur", encoder=None, seeds=Seeds(0), device=torch.device("cpu"), step=step
    )
    start = time.perf_counter()
    options = {"queries": 50, "rank": 8} if asked.tiny else {}
    keep = Recur(effect=False, **options).clean(view).keep
    removed = np.flatnonzero(~keep)
    yield {"images": count, "planted": len(planted), "removed": len(removed)}
    yield {"hit": len(np.intersect1d(planted, removed)), "search_seconds": time.perf_counter() - start}


PARTS: dict[str, Callable[[Asked], Found]] = {
    each.__name__: each for each in (tests, peak, equality, k_means, train_cifar10, train_paper, search, recur)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("device", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    for found in PARTS[options.name](Asked(options.device, options.tiny)):
        short = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in found.items()}
        sys.stdout.write(json.dumps(short) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
