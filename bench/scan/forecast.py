"""How long a scan will take from here: measured by a short trial on this machine."""

from __future__ import annotations

from bench.estimate.estimate import Pace, duration, search_seconds, trial
from bench.estimate.trial import encoding_pace, random_encoder

from .scan import Scan

TRIAL = 32
"""Images of a trial of the encoder alone."""


def forecast(scan: Scan) -> str:
    """One sentence. Needs the images read."""
    pace = _pace(scan)
    train = 0.0 if scan.made(scan.encoder) else pace.training * scan.encoder.work
    search = 0.0 if scan.made(scan.search) else _search(scan, pace)
    parts = [f"{name} {duration(seconds)}" for name, seconds in (("training", train), ("search", search)) if seconds]
    return f"About {duration(train + search)} to go ({', '.join(parts) or 'nearly all is in the store'})."


def _search(scan: Scan, pace: Pace) -> float:
    defense, images = scan.chosen.defense, scan.images
    found = search_seconds(scan.chosen.config, defense, images, scan.machine, pace)
    return sum(found.values()) if found else defense.forwards(len(images), images.size) * pace.encoding


def _pace(scan: Scan) -> Pace:
    config, machine = scan.chosen.config, scan.machine
    if scan.chosen.origin == "trained":
        return trial(config, scan.images, machine)
    encoder = random_encoder(config, scan.chosen.size, machine)
    return Pace(training=0.0, encoding=encoding_pace(encoder, scan.images, TRIAL), batch=TRIAL)
