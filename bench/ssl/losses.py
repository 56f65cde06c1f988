"""Heads on top of an encoder, and the losses that compare their outputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(
    layers: int,
    width_in: int,
    hidden: int,
    width_out: int,
    last_norm: bool,
    norm: bool = True,
    gelu: bool = False,
) -> nn.Module:
    """Linear + BatchNorm + ReLU layers (without BatchNorm if not `norm`, GELU if `gelu`); 0 layers is the identity.

    `last_norm` ends in a BatchNorm without affine. A linear layer has a bias where no BatchNorm follows it.
    """
    parts: list[nn.Module] = []
    for i in range(layers):
        last = i == layers - 1
        normed = last_norm if last else norm
        out = width_out if last else hidden
        parts.append(nn.Linear(width_in if i == 0 else hidden, out, bias=not normed))
        if normed:
            parts.append(nn.BatchNorm1d(out, affine=not last))
        if not last:
            parts.append(nn.GELU() if gelu else nn.ReLU(inplace=True))
    return nn.Sequential(*parts)


class Prototypes(nn.Module):
    """A linear layer of `count` outputs whose inputs and weights are of length 1: (b, width) -> cosines (b, count)."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width))

    def forward(self, inputs: Tensor) -> Tensor:
        return similarities(inputs, self.weight)


def info_nce(queries: Tensor, keys: Tensor, own: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries (b, d) against keys (B, d), query i's own key at own[i] (int64); both are normalised here.

    The mean over the queries, a scalar.
    """
    return F.cross_entropy(similarities(queries, keys) / temperature, own)


def nt_xent(queries: Tensor, keys: Tensor, others: Tensor, own: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries (b, d) against keys and others (each (B, d), two views of the same images).

    Query i's own key is keys[own[i]]; others[own[i]], the same image once more, is no negative. A scalar.
    """
    logits = similarities(queries, torch.cat([keys, others])) / temperature
    itself = (len(keys) + own).unsqueeze(1)
    return F.cross_entropy(logits.scatter(1, itself, -torch.inf), own)


def queue_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries[i] against its own keys[i] (both (b, d)), with `queue` (K, d) as negatives. A scalar."""
    logits = torch.cat([cosines(queries, keys)[:, None], similarities(queries, queue)], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(queries), dtype=torch.int64, device=queries.device))


def distillation(logits: Tensor, aims: Tensor) -> Tensor:
    """Cross-entropy of the softmax of `logits` with that of `aims`, both (b, K): the mean over the rows, a scalar."""
    return F.cross_entropy(logits, aims.softmax(1))


def similarities(queries: Tensor, keys: Tensor) -> Tensor:
    """Cosine of every query (b, d) and every key (B, d): (b, B)."""
    return F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T


def cosines(queries: Tensor, keys: Tensor) -> Tensor:
    """Cosine of queries[i] and keys[i], both (b, d): (b,)."""
    return (F.normalize(queries, dim=1) * F.normalize(keys, dim=1)).sum(1)
