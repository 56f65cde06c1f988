"""The whole state of a training in one safetensors file, replaced atomically. Randomness is not in it: every draw is a
function of the step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer


def save(path: Path, learner: nn.Module, optimiser: Optimizer, losses: list[float]) -> None:
    """Write learner, optimiser state and the loss of every step done (their number is the next step)."""
    tensors = {f"learner.{name}": value.contiguous() for name, value in learner.state_dict().items()}
    plain: dict[str, Any] = {}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{name}"] = value.contiguous()
            elif value is not None:
                plain[f"optimiser.{index}.{name}"] = value
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"plain": json.dumps(plain)})
    part.replace(path)


def load(path: Path, learner: nn.Module, optimiser: Optimizer) -> list[float]:
    """Restore in place; the losses so far. A file that is absent or spoilt starts the training anew: []."""
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
    for key, value in {**tensors, **plain}.items():
        kind, _, rest = key.partition(".")
        if kind == "optimiser":
            index, _, name = rest.partition(".")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return losses
