"""How long a scan will take from here: from a short trial on this machine."""

from __future__ import annotations

from bench.estimate.estimate import duration, encoder_passes, told
from bench.estimate.pace import measure_pace

from .encoders import Origin
from .scan import Scan


def forecast(scan: Scan) -> str:
    """One sentence. Needs the images read."""
    images, to_train = scan.images, scan.chosen.origin is Origin.TRAINED and not scan.made(scan.encoder)
    pace = measure_pace(scan.chosen.config, images, scan.machine, training=to_train)
    train = pace.training * scan.encoder.work
    search, defense = 0.0, scan.chosen.defense
    if not scan.made(scan.search):
        passes = encoder_passes(defense, len(images), images.size)
        search = passes * pace.encoding + told(defense, "seconds", len(images), images.size)
    parts = [f"{name} {duration(seconds)}" for name, seconds in (("training", train), ("search", search)) if seconds]
    return f"About {duration(train + search)} to go ({', '.join(parts) or 'nearly all is in the store'})."
