"""The sections [encoder], [views], [train] and [probe] of a configuration. Reading them loads no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bench.errors import BenchError

from .pairs import at_least, at_most, share

MOST_LOCAL_VIEWS = 1000
"""SwAV and DINO have six to ten."""
MOST_LAYERS = 1000
"""Of a backbone, in each number that counts them: timm builds layer by layer, so it would not come back from 10^18."""


def _scale(name: str, value: tuple[float, float]) -> None:
    if not 0 < value[0] <= value[1] <= 1:
        raise ValueError(f"{name} must be two shares of the area, 0 < low <= high <= 1, got {value}")


def _of_bytes(values: tuple[float, ...]) -> str:
    """The values, and as shares where they are evidently of bytes."""
    shares = f" (of 255: {[round(value / 255, 4) for value in values]})" if 1 < max(values) <= 255 else ""
    return f"{list(values)}{shares}"


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """[encoder]: the backbone, by its timm name. vit: whose position embedding and initial weights a vision transformer
    has, timm's own (learned; truncated normal) or MoCo-v3's (fixed sine-cosine; Xavier). mean, std: what is taken from
    red, green and blue in [0, 1], and what the rest is divided by; None: ImageNet's. An encoder that was trained
    elsewhere needs what it was trained with."""

    backbone: str = "vit_base_patch16_224"
    options: dict[str, Any] = field(default_factory=dict)
    stem: Literal["timm", "small"] = "timm"
    vit: Literal["timm", "moco-v3"] = "timm"
    freeze_patch_embed: bool = False
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for name in self.options.keys() & {"layers", "depth", "depths", "num_layers"}:
            value = self.options[name]
            for count in value if isinstance(value, list | tuple) else [value]:
                if isinstance(count, int):
                    at_most(MOST_LAYERS, **{f"encoder.options.{name}": count})
        if self.mean is not None and not all(0 <= value <= 1 for value in self.mean):
            raise ValueError(f"encoder.mean must be three numbers in [0, 1], got {_of_bytes(self.mean)}")
        if self.std is not None and not all(0 < value <= 1 for value in self.std):
            raise ValueError(f"encoder.std must be three numbers above 0 and up to 1, got {_of_bytes(self.std)}")

    @property
    def normalisation(self) -> dict[str, Any]:
        """`mean` and `std`, those of them that are set: arguments of data.augment's `normalise` and `ViewSpec`."""
        both = {"mean": self.mean, "std": self.std}
        return {name: value for name, value in both.items() if value is not None}

    def identity(self) -> dict[str, Any]:
        """The options by name, JSON-able; `mean` and `std` only where they are set, as in stages that were made before
        there were such options."""
        every = asdict(self)
        return {name: every[name] for name in every if name not in ("mean", "std")} | dict(self.normalisation)


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """[views]: two global views, and up to 1000 local ones. Pairs are (first, second) global view.

    `size` and `local_size` are in pixels; a `size` of None is that of the images.
    """

    size: int | None = None
    scale: tuple[float, float] = (0.08, 1.0)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    grey_p: float = 0.2
    blur_p: tuple[float, float] = (1.0, 0.1)
    solarise_p: tuple[float, float] = (0.0, 0.2)
    local_count: int = 0
    local_size: int = 96
    local_scale: tuple[float, float] = (0.05, 0.25)

    def __post_init__(self) -> None:
        _scale("views.scale", self.scale)
        _scale("views.local_scale", self.local_scale)
        for name in ("flip", "jitter_p", "grey_p"):
            share(f"views.{name}", getattr(self, name))
        for value in (*self.blur_p, *self.solarise_p):
            share("views.blur_p and views.solarise_p", value)
        at_least(0, **{"views.local_count": self.local_count})
        at_most(MOST_LOCAL_VIEWS, **{"views.local_count": self.local_count})
        if min(self.local_size, self.size or self.local_size) < 4:
            raise ValueError("views.size and views.local_size must be 4 px or more")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """[train]: the optimisation. `batch` is the number of images a step over all processes; `lr` is for a batch of 256
    and scales with it; `warmup` counts epochs. `max_steps` ends a run early (a trial of a large preset). With
    `sync_batchnorm`, batch normalisation on several GPUs takes its statistics over the whole batch, not over each one's
    share. `precision`: "auto" is bf16 on a GPU that has it and float32 elsewhere; stages and records hold what it is.
    On a CPU name "bf16" to have it: at the size of the small presets it moves an ASR by tens of points."""

    epochs: int = 200
    batch: int = 1024
    lr: float = 1.5e-4
    weight_decay: float = 0.1
    warmup: float = 40
    optimiser: str = "adamw"
    precision: Literal["auto", "32", 32, "bf16"] = "auto"
    max_steps: int | None = None
    loader_workers: int = 8
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", str(self.precision))  # --set train.precision=32 is a number
        at_least(1, **{"train.epochs": self.epochs, "train.max_steps": 1 if self.max_steps is None else self.max_steps})
        if self.batch < 2:
            raise ValueError("train.batch must be 2 or more: the other images of a batch are the negatives")
        if not self.lr > 0 or self.weight_decay < 0:
            raise ValueError("train.lr must be above 0 and train.weight_decay 0 or more")
        if not 0 <= self.warmup <= self.epochs:
            raise ValueError(f"train.warmup must lie in [0, {self.epochs}] epochs, got {self.warmup}")

    def per_device(self, devices: int) -> int:
        """How many images of a step each of so many devices takes. Raises BenchError where they cannot share evenly."""
        if self.batch % devices:
            raise BenchError(f"train.batch {self.batch} is not a multiple of the {devices} devices")
        return self.batch // devices


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """[probe]: `fraction` is the labelled share of each class's clean training images (at least one of each)."""

    fraction: float = 0.1
    epochs: int = 40
    batch: int = 256
    lr: float = 0.01
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"probe.fraction must lie in (0, 1], got {self.fraction}")
        if self.epochs < 1 or self.batch < 1 or not self.lr > 0 or self.weight_decay < 0:
            raise ValueError("probe: epochs and batch must be 1 or more, lr above 0, weight_decay 0 or more")
