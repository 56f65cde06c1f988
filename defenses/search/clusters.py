"""The clustering model: k-means on normalised features (paper IV-A, eq. 1), and assignment to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from bench import Arrays, BenchError, Encoder, ProgressCallback, RowFunction, View, counted

ITERATIONS = 20  # PatchSearch
CACHE_PIXELS = 2**17
"""On a CPU so many pixels go through the encoder at once, and 8 images at least: what a layer makes of them is still in
the cache when the next one reads it. The laptop preset's network takes 245 us an image of 32 px by 128 images, 335 us
by 1024, 404 us by 16; a ResNet-18 at 224 px 39 ms by 8, 45 ms by 32. The features are the same bit by bit.
"""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Fixed centres (l, dim) float32 on the encoder's device; `batch` images are encoded at once."""

    encoder: Encoder
    centres: Tensor
    batch: int

    def assign(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, 3, S, S) -> nearest centre (B,) int64, Euclidean distance (B,) float32, on the device."""
        parts = [self.nearest(self.encoder(part)) for part in self._parts(images)]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def away(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, S, S) -> what `away` says of them, (B, l) float32, on the device."""
        parts = [away(normalize(self.encoder(part).float()), self.centres) for part in self._parts(images)]
        return torch.cat(parts)

    def _parts(self, images: Tensor) -> tuple[Tensor, ...]:
        step = self.batch if self.centres.is_cuda else min(self.batch, max(8, CACHE_PIXELS // images.shape[-1] ** 2))
        parts: tuple[Tensor, ...] = images.split(step)
        return parts

    def nearest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, dim), normalised here -> nearest centre (B,) and distance (B,), as `assign`."""
        return nearest(normalize(features.float()), self.centres)


@dataclass(frozen=True, eq=False)
class Clustering:
    """Clusters, and of each of the N images its cluster (N,) int64 and distance to it (N,) float32."""

    clusters: Clusters
    labels: NDArray[np.int64]
    distances: NDArray[np.float32]

    @property
    def facts(self) -> Arrays:
        """centres (l, dim), labels and distances, as arrays on the CPU."""
        return {"centres": self.clusters.centres.cpu().numpy(), "labels": self.labels, "distances": self.distances}


def nearest(features: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of features (B, dim) the nearest row of centres (l, dim): index (B,) and distance (B,)."""
    labels = away(features, centres).argmin(1)
    return labels, (features - centres[labels]).norm(dim=1)  # exact: equation 2 stretches small differences


def away(features: Tensor, centres: Tensor) -> Tensor:
    """Squared distances of features (B, dim) to centres (l, dim), less the squared length of each feature: (B, l)."""
    return centres.square().sum(1) - 2 * features @ centres.T


def learn(view: View, clusters: int, batch: int) -> Clustering:
    """k-means over all images of the view. One saved step: centres, labels, distances.

    Raises BenchError for fewer images than clusters and for features that are not finite.
    """
    if len(view) < clusters:
        raise BenchError(f"{counted(len(view), 'image')} cannot fill {counted(clusters, 'cluster')}: lower `clusters`")
    return restored(view, view.step("clusters", lambda: _learn(view, clusters, batch)), batch)


def restored(view: View, found: Arrays, batch: int) -> Clustering:
    """The clustering whose `facts` these are, for the encoder and on the device of this view."""
    centres = torch.tensor(found["centres"], device=view.device)
    return Clustering(Clusters(view.encoder, centres, batch), found["labels"], found["distances"])


def _learn(view: View, clusters: int, batch: int) -> dict[str, NDArray[np.generic]]:
    features = all_features(view, batch)
    seed = view.seeds("clusters").value % 2**31
    centres = k_means(features, clusters, seed, gpu=view.device.type == "cuda")
    labels, distances = assigned(features, torch.tensor(centres, device=view.device), batch)
    return {"centres": centres, "labels": labels, "distances": distances}


def assigned(
    features: NDArray[np.float32], centres: Tensor, batch: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """`nearest` of all features (N, dim), `batch` rows at once on the device of the centres."""
    labels, distances = np.empty(len(features), np.int64), np.empty(len(features), np.float32)
    for start in range(0, len(features), batch):
        part = slice(start, start + batch)
        # Into arrays that are there: small results kept between large blocks that come and go would leave holes in the
        # heap that fit no block any more, until all blocks have had one of their own (glibc; measured).
        found = nearest(torch.tensor(features[part], device=centres.device), centres)
        labels[part], distances[part] = found[0].cpu().numpy(), found[1].cpu().numpy()
    return labels, distances


def all_features(view: View, batch: int, *, unit: bool = True) -> NDArray[np.float32]:
    """Features of all images, (N, dim) float32, the one array of that size; `batch` images in memory at once. `unit`:
    scaled to length 1. Raises BenchError where any is not finite."""
    team = view.map_rows(partial(_encoding, batch, unit))
    found = team(None, len(view), batch, lambda done: view.progress("features", done, len(view)))
    features: NDArray[np.float32] = found["features"]
    parts = (features[start : start + batch] for start in range(0, len(view), batch))
    bad = sum(int((~np.isfinite(part)).any(axis=1).sum()) for part in parts)
    if bad:
        raise BenchError(
            f"The encoder gives NaN or infinite features for {bad} of {len(view)} images: its training has "
            "diverged. Train it again with a lower learning rate, or without mixed precision."
        )
    return features


def _encoding(batch: int, unit: bool, view: View) -> RowFunction:
    """Makes the features of the images start to stop."""

    def encode(what: Any, start: int, stop: int, done: ProgressCallback) -> Arrays:
        features = np.empty((stop - start, view.encoder.dim), dtype=np.float32)
        for low in range(start, stop, batch):
            high = min(low + batch, stop)
            part = view.encoder(view.batch(np.arange(low, high))).float()
            features[low - start : high - start] = (normalize(part) if unit else part).cpu().numpy()
            done(high - low)
        return {"features": features}

    return encode


def k_means(features: NDArray[np.float32], clusters: int, seed: int, *, gpu: bool = False) -> NDArray[np.float32]:
    """Centres (clusters, dim) float32 by faiss, Euclidean, 20 iterations, all points, `seed` in [0, 2**31).

    Threads share out whole rows, so the number of cores does not change the result (a test holds this). faiss reads
    the features where they lie, and makes 12 bytes for each row.
    """
    import faiss

    gpu = gpu and faiss.get_num_gpus() > 0  # only with the faiss-gpu extra
    model = faiss.Kmeans(
        features.shape[1],
        clusters,
        niter=ITERATIONS,
        seed=seed,
        gpu=gpu,
        min_points_per_centroid=1,  # silences a warning on small sets; changes nothing else
        max_points_per_centroid=len(features),
    )
    model.train(np.ascontiguousarray(features))
    return np.array(model.centroids, dtype=np.float32)
