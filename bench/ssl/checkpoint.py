"""The state of a training in one safetensors file, replaced atomically.

Randomness is not in it: every draw is a function of the step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.errors import BenchError


def save(path: Path, learner: nn.Module, optimiser: Optimizer, losses: list[float]) -> None:
    """Write learner, optimiser state and the loss of every step done (their number is the next step).

    Raises BenchError for an optimiser whose state is more than numbers and tensors.
    """
    tensors = {f"learner.{name}": value.contiguous() for name, value in learner.state_dict().items()}
    plain: dict[str, Any] = {}
    for key, value in _optimiser_values(optimiser):
        if isinstance(value, Tensor):
            tensors[key] = value.contiguous()
        elif isinstance(value, bool | int | float | str):
            plain[key] = value
        else:
            what = f"{key}, a {type(value).__name__}, of this optimiser"
            raise BenchError(f"a checkpoint cannot hold {what}: choose another train.optimiser")
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"plain": json.dumps(plain)})
    part.replace(path)


def _optimiser_values(optimiser: Optimizer) -> Iterator[tuple[str, Any]]:
    """The state by parameter, and what groups count: some optimisers (LAMB, Adan) keep their step there."""
    whole = optimiser.state_dict()
    for index, state in whole["state"].items():
        yield from ((f"state.{index}.{name}", value) for name, value in state.items() if value is not None)
    for index, group in enumerate(whole["param_groups"]):
        counted = {name: value for name, value in group.items() if type(value) is int or isinstance(value, Tensor)}
        yield from ((f"group.{index}.{name}", value) for name, value in counted.items())


def load(path: Path, learner: nn.Module, optimiser: Optimizer) -> list[float]:
    """Restore in place; the losses so far. Where the file is missing or damaged the training starts again: []."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            plain = json.loads(file.metadata()["plain"])
    except (OSError, SafetensorError):
        return []
    losses: list[float] = tensors.pop("losses").tolist()
    prefix = "learner."
    learner.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    state: dict[int, dict[str, Any]] = {}
    groups = optimiser.state_dict()["param_groups"]
    for key, value in {**tensors, **plain}.items():
        kind, _, rest = key.partition(".")
        index, _, name = rest.partition(".")
        if kind == "state":
            state.setdefault(int(index), {})[name] = _laid_out(value)
        elif kind == "group":
            groups[int(index)][name] = value
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    return losses


def _laid_out(value: Any) -> Any:
    """In the memory order that the loop trains in: a norm (LAMB's trust ratio) rounds otherwise in another order."""
    is_map = isinstance(value, Tensor) and value.dim() == 4
    return value.contiguous(memory_format=torch.channels_last) if is_map else value
