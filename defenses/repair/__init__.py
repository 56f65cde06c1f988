"""Repairs: a new encoder out of the old one, in place of a second training."""

from __future__ import annotations

from .distill import Distill
from .finetune import FineTune

__all__ = ["REPAIRS", "Distill", "FineTune"]

REPAIRS = (FineTune, Distill)
