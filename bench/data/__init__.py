"""What are the images? Datasets, decoding, augmentations, fingerprints, and the manifest of poisoned images."""

from __future__ import annotations

from bench.api import DatasetPlugin
from bench.plugins import hookimpl


@hookimpl
def bench_datasets() -> list[type[DatasetPlugin]]:
    """The built-in datasets."""
    from .cifar10 import CIFAR10
    from .folder import Folder
    from .huggingface import HuggingFace
    from .imagenet100 import ImageNet100
    from .scenes import Scenes
    from .stl10 import STL10
    from .vivid import Vivid

    return [Scenes, Vivid, Folder, CIFAR10, STL10, ImageNet100, HuggingFace]
