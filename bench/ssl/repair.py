"""What the training loop trains where an encoder is repaired."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from bench.api import Repair, SSLMethod

from .encoder import load_encoder
from .settings import EncoderSettings


def repair_learner(
    repair: Repair, old_file: Path, new: nn.Module, dim: int, encoder: EncoderSettings, size: int, ssl: SSLMethod
) -> nn.Module:
    """The learner of a repair of the encoder in `old_file`, for images of `size` px. `new` is as `encoder` builds it,
    and gets the old weights unless the repair starts afresh. Raises BenchError for a file that does not fit."""
    old = load_encoder(old_file, encoder, size, torch.device("cpu")).module
    if not repair.fresh:
        new.load_state_dict(old.state_dict())
    return repair.learner(old, new, dim, ssl)
