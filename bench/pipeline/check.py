"""What a run would refuse later is refused before anything is computed: `bench plan`, `run` and `matrix` share this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.api import Control
from bench.errors import BenchError, in_one_line
from bench.ssl.import_weights import import_encoder

from .poison import check_attack

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.config.config import Config

    from .pipeline import Pipeline
    from .stage import Stage

COPIES = 4
"""A training holds each number of a network so many times: the weight, its gradient, two averages of the optimiser."""


def check_runnable(pipeline: Pipeline, known: set[str] | None = None) -> None:
    """Raises BenchError for what the stages that are not in the store could not do: an attack that does not fit the
    images, a network that does not fit into memory, a defense whose options do not fit the number of images.

    known: the keys of stages that were checked for other runs, to which those of this one are added.
    """
    known = set() if known is None else known
    config, dataset = pipeline.config, pipeline.dataset
    if _is_new(pipeline.poison, pipeline, known):
        check_attack(config, dataset)
    checkpoint = config.threat_checkpoint
    if checkpoint is None and _is_new(pipeline.training_on_all, pipeline, known):
        _check_memory(pipeline)
    elif checkpoint is not None and _is_new(pipeline.threat, pipeline, known):
        import_encoder(checkpoint.path, config.encoder, dataset.size)
    for chosen in (config.defense.filter, config.defense.reference):
        if chosen is not None and not isinstance(chosen, Control):
            try:
                dict(chosen.in_force(len(dataset.train), dataset.size))
            except BenchError:
                raise
            except Exception as error:
                raise BenchError(f"in_force() of {chosen.name!r} gives no options: {in_one_line(error)}") from error


def _is_new(stage: Stage, pipeline: Pipeline, known: set[str]) -> bool:
    """Whether a stage is neither in the store nor `known`; it is from here on."""
    new = stage.key not in known and not pipeline.found(stage)
    known.add(stage.key)
    return new


def laid_out(config: Config, size: int) -> nn.Module | None:
    """The networks of a training on images of `size` px, without any numbers in them: they take no memory. None for
    networks that cannot be built so. Raises BenchError for what cannot be built at all."""
    import torch

    from bench.ssl.backbone import build_encoder

    try:
        with torch.device("meta"):
            return config.ssl.learner(*build_encoder(config.encoder, size))
    except NotImplementedError:  # one that needs its numbers to be built
        return None
    except (RuntimeError, OverflowError, TypeError) as error:
        raise BenchError(f"the networks of this training cannot be built: {str(error).splitlines()[0]}") from error


def _check_memory(pipeline: Pipeline) -> None:
    module, device = laid_out(pipeline.config, pipeline.dataset.size), pipeline.machine.device
    numbers = [] if module is None else [each.numel() * each.element_size() for each in module.parameters()]
    needed, there = COPIES * sum(numbers), _memory(device)
    if needed > there:
        raise BenchError(
            f"the networks of this training take {needed / 2**30:,.0f} GiB with their gradients and averages; "
            f"{device.type} has {there / 2**30:,.0f}. Expected a smaller encoder, or smaller heads (ssl.*)"
        )


def _memory(device: torch.device) -> int:
    """Bytes of memory of the device's own kind."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)
