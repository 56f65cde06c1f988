"""Test-time detectors: each scores single images that the encoder is given."""

from __future__ import annotations

from bench import Detector

from .colour import ColourTest
from .masking import Masking
from .recur_templates import RecurTemplates
from .strip import Strip

__all__ = ["DETECTORS"]

DETECTORS: tuple[type[Detector], ...] = (Strip, Masking, RecurTemplates, ColourTest)
