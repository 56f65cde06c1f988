"""A checkpoint holds everything: what goes on from it cannot be told from what never stopped."""

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from bench.errors import BenchError
from bench.seeds import Seeds
from bench.ssl import checkpoint

INPUTS = torch.randn(8, 3, 6, 6, generator=Seeds(0).torch())


def make(optimiser):
    """A network with all that a checkpoint meets: maps in channels_last order, vectors, buffers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(128, 4)
        )
    network = network.to(memory_format=torch.channels_last)
    return network, create_optimizer_v2(network.parameters(), opt=optimiser, lr=0.01, weight_decay=0.1)


def steps(network, optimiser, count):
    for _ in range(count):
        loss = network(INPUTS.contiguous(memory_format=torch.channels_last)).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()


# LAMB and Adan count steps in the parameter group; Adafactor's and LAMB's norms depend on the memory order.
@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "adan", "adafactor", "lion"])
def test_going_on_from_it_is_exact(name, tmp_path):
    path = tmp_path / "c.safetensors"
    network, optimiser = make(name)
    steps(network, optimiser, 3)
    checkpoint.save(path, network, optimiser, [3.0, 2.0, 1 / 3])
    steps(network, optimiser, 3)
    other, resumed = make(name)
    assert checkpoint.load(path, other, resumed) == [3.0, 2.0, 1 / 3]
    steps(other, resumed, 3)
    for key, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_an_absent_or_spoilt_file_starts_anew(tmp_path):
    path = tmp_path / "c.safetensors"
    network, optimiser = make("adamw")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert checkpoint.load(path, network, optimiser) == []
    steps(*make("adamw"), 1)
    checkpoint.save(path, *make("adamw"), [1.0])
    path.write_bytes(path.read_bytes()[:-100])
    assert checkpoint.load(path, network, optimiser) == []
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_failed_save_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    network, optimiser = make("adamw")
    checkpoint.save(path, network, optimiser, [1.0])

    def fails(tensors, part, metadata):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, network, optimiser, [1.0, 2.0])
    assert checkpoint.load(path, *make("adamw")) == [1.0]


def test_a_state_that_cannot_be_kept_is_refused(tmp_path):
    network, optimiser = make("sgd")
    optimiser.state[network[0].weight]["factors"] = [torch.zeros(1)]
    with pytest.raises(BenchError, match=r"cannot hold state\.0\.factors, a list.*train\.optimiser"):
        checkpoint.save(tmp_path / "c.safetensors", network, optimiser, [])
