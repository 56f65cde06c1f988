"""Fine-tuning: the old encoder, trained on for a little while."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import Repair, SSLMethod

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class FineTune(Repair):
    """Goes on training the old encoder on the kept images, with the loss it was trained with: what is not seen again
    may be forgotten.

    The plainest repair of a backdoored network, the baseline of Liu, Dolan-Gavitt and Garg (Fine-Pruning, RAID 2018),
    who fine-tune a classifier on clean labelled images; here the loss is the SSL method's own, without labels. Its
    heads and its momentum encoder start anew (the old ones are not kept), the latter from the old weights.
    """

    name = "finetune"
    paper = "Liu, Dolan-Gavitt and Garg, Fine-Pruning: Defending Against Backdooring Attacks on Deep Networks, 2018"
    url = "https://arxiv.org/abs/1805.12185"

    length: float = field(default=0.1)
    lr: float = field(default=0.1)

    def learner(self, old: nn.Module, new: nn.Module, dim: int, ssl: SSLMethod) -> nn.Module:
        """The SSL method's own, around the old weights."""
        return ssl.learner(new, dim)
