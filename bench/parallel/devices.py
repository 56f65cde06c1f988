"""Lightning Fabric for the devices of this machine, without its warnings about settings that we choose on purpose."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@contextmanager
def without_fabric_warnings() -> Iterator[None]:
    """Also usable as a decorator."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        yield


@without_fabric_warnings()
def open_fabric(**options: Any) -> Fabric:
    """Fabric with these options. Raises BenchError for an accelerator or a number of devices that is not here."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # it announces every precision that it is given
    try:
        # Unless an option says otherwise, processes are ours to start, also inside a job of SLURM or under torchrun.
        return Fabric(**{"plugins": [LightningEnvironment()], **options})
    except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
        raise BenchError(f"cannot train on accelerator {options['accelerator']!r}: {error}") from error
