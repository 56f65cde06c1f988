"""Self-supervised training: methods, views, and the one loop."""

from __future__ import annotations

from bench.plugins import hookimpl
from bench.types import SSLMethod


@hookimpl
def bench_ssl_methods() -> list[type[SSLMethod]]:
    """The built-in methods."""
    from .moco_v3 import MoCoV3

    return [MoCoV3]
