"""What a repair changes of a training: how long it is, where it starts, and what the loop trains."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import Repair, SSLMethod

from .settings import EncoderSettings, TrainSettings

if TYPE_CHECKING:
    from torch import nn


def shortened(train: TrainSettings, repair: Repair, kept: int, every: int, devices: int = 1) -> TrainSettings:
    """The section [train] of a repair on `kept` images, 2 for each device at least, after a first training on `every`.

    As many images are seen as the repair's share of the first training says, in whole epochs, one at least; warm-up
    takes the same share of them as before. Where less than a batch is kept, a batch is all of it that the devices can
    share (the learning rate scales with it).
    """
    batch = min(train.batch, kept // devices * devices)
    first, epoch = train.epochs * (every // train.batch) * train.batch, kept // batch * batch
    epochs = max(1, round(repair.length * first / epoch))
    warmup = train.warmup * epochs / train.epochs
    return dataclasses.replace(train, epochs=epochs, warmup=warmup, batch=batch, lr=train.lr * repair.lr)


def repair_learner(
    repair: Repair, old_file: Path, new: nn.Module, dim: int, encoder: EncoderSettings, size: int, ssl: SSLMethod
) -> nn.Module:
    """The learner of a repair of the encoder in `old_file`, for images of `size` px. `new` is as `encoder` builds it,
    and gets the old weights unless the repair starts afresh. Raises BenchError for a file that does not fit."""
    import torch

    from .encoder import load_encoder

    old = load_encoder(old_file, encoder, size, torch.device("cpu")).module
    if not repair.fresh:
        new.load_state_dict(old.state_dict())
    return repair.learner(old, new, dim, ssl)
