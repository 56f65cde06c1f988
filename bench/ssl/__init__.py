"""How is an encoder trained, imported and measured? SSL methods on one loop, and the linear probe.

A built-in method is one file here and an entry in the list below.
"""

from __future__ import annotations

from bench.api import SSLMethod
from bench.plugins import hookimpl


@hookimpl
def bench_ssl_methods() -> list[type[SSLMethod]]:
    """The built-in methods."""
    from .byol import BYOL
    from .dino import DINO
    from .moco_v2 import MoCoV2
    from .moco_v3 import MoCoV3
    from .simclr import SimCLR
    from .simsiam import SimSiam

    return [MoCoV3, MoCoV2, SimCLR, BYOL, SimSiam, DINO]
