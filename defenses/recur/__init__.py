"""Recur: what comes back and acts.

recurrence.py: which windows come back; trigger.py: from one of them to the trigger, to the pixel; effect.py: does it
act; peel.py: one trigger after another; shared.py: what is done to every image, over devices; recur.py: the defense.
"""

from __future__ import annotations

from .recur import Recur

__all__ = ["Recur"]
