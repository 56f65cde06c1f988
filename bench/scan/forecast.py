"""How long a scan will take from here: measured by a short trial on this machine."""

from __future__ import annotations

from bench.estimate import duration, trial
from bench.trial import encoding_pace, random_encoder

from .scan import Scan

TRIAL = 32
"""Images of a trial of the encoder alone."""


def forecast(scan: Scan) -> str:
    """One sentence. Needs the images read; the small training of a search's own classifier is not counted."""
    count, size = len(scan.images), scan.chosen.size
    training, encoding = _pace(scan)
    train = 0.0 if scan.made(scan.encoder) else training * scan.encoder.work
    search = 0.0 if scan.made(scan.search) else encoding * scan.chosen.defense.forwards(count, size)
    parts = [f"{name} {duration(seconds)}" for name, seconds in (("training", train), ("search", search)) if seconds]
    return f"About {duration(train + search)} to go ({', '.join(parts) or 'nearly all is in the store'})."


def _pace(scan: Scan) -> tuple[float, float]:
    """Seconds for an image of a training step, and of the encoder alone."""
    config, machine = scan.chosen.config, scan.machine
    if scan.chosen.origin == "trained":
        pace = trial(config, scan.images, machine)
        return pace.training, pace.encoding
    encoder = random_encoder(config, scan.chosen.size, machine)
    return 0.0, encoding_pace(encoder, scan.images, TRIAL)
