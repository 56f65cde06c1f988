"""Datasets: procedural scenes, folders of images, CIFAR-10."""

from __future__ import annotations

from bench.plugins import hookimpl
from bench.types import DatasetPlugin


@hookimpl
def bench_datasets() -> list[type[DatasetPlugin]]:
    """The built-in datasets."""
    from .cifar10 import CIFAR10
    from .folder import Folder
    from .scenes import Scenes

    return [Scenes, Folder, CIFAR10]
