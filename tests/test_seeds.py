"""The tree of seeds."""

from __future__ import annotations

import hashlib
import pickle

import pytest
import torch

from bench.seeds import Seeds


def test_a_node_is_named_by_root_and_path():
    assert Seeds(5).child("a", 1).child("b").value == Seeds(5, "a", 1, "b").value
    text = "int:5/str:a/int:1"
    assert Seeds(5, "a", 1).value == int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def test_a_sealed_node_draws_the_same_each_time_and_keeps_its_path_to_itself():
    node, sealed = Seeds(5, "a"), Seeds(5, "a").sealed()
    assert sealed.child("b", 1).value == node.sealed().child("b", 1).value
    assert sealed.child("b", 1).value != node.child("b", 1).value
    assert sealed.child("b").value != sealed.child("c").value
    assert "a" not in repr(vars(sealed)).replace("_path", "")
    assert pickle.loads(pickle.dumps(sealed)).child("b").value == sealed.child("b").value


def test_nodes_differ_in_root_name_order_and_type():
    nodes = [Seeds(0), Seeds(1), Seeds(0, "1"), Seeds(0, 1), Seeds(0, "a", "b"), Seeds(0, "b", "a"), Seeds(0, "ab")]
    assert len({node.value for node in nodes}) == len(nodes)
    assert all(0 <= node.value < 2**63 for node in nodes)


@pytest.mark.usefixtures("global_rng")
def test_generators_are_fresh_and_equal():
    assert Seeds(3).numpy().integers(0, 1000, 5).tolist() == Seeds(3).numpy().integers(0, 1000, 5).tolist()
    drawn = [torch.rand(4, generator=Seeds(root).torch()) for root in (3, 3, 4)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
