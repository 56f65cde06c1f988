"""Encoder tests: each says how suspicious an encoder is."""

from __future__ import annotations

from bench import EncoderTest

from .decree import Decree
from .pull import PullTest

__all__ = ["ENCODER_TESTS"]

ENCODER_TESTS: tuple[type[EncoderTest], ...] = (Decree, PullTest)
