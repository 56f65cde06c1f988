"""Encoder tests: each says how suspicious an encoder is."""

from __future__ import annotations

from .decree import Decree
from .pull import PullTest

__all__ = ["ENCODER_TESTS"]

ENCODER_TESTS = (Decree, PullTest)
