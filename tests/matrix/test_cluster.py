"""Whether a store is shared, judged without a cluster; and what is said where there is no Ray."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from filelock import FileLock

from bench.errors import BenchError
from bench.matrix import cluster
from bench.matrix.needs import Needs


def test_a_machine_that_sees_file_and_lock_says_nothing(tmp_path):
    token = tmp_path / "probe"
    token.touch()
    with FileLock(tmp_path / "probe.lock"):
        assert cluster.look(str(token)) == ""
    assert cluster.look(str(token)) == "unlocked"


def test_a_machine_that_does_not_see_the_file_says_so(tmp_path):
    assert cluster.look(str(tmp_path / "probe"), patience=0.0) == "a file that was just written is not seen there"


def test_the_machines_without_the_store_are_named(tmp_path):
    cluster._judge(tmp_path, {"10.0.0.1": ""})
    with pytest.raises(BenchError, match="not shared by all machines of the cluster: ") as caught:
        cluster._judge(tmp_path, {"10.0.0.3": "not seen", "10.0.0.1": "", "10.0.0.2": "not seen"})
    assert ": 10.0.0.2, 10.0.0.3 (not seen)" in str(caught.value)
    assert "--store" in str(caught.value)


def test_locks_that_do_not_reach_are_a_warning(tmp_path, caplog):
    cluster._judge(tmp_path, {"10.0.0.1": "", "10.0.0.2": "unlocked"})
    assert "do not reach 10.0.0.2: let no second command use it" in caplog.text


def fake(*rooms, dead=()):
    alive = [{"Alive": True, "Resources": room} for room in rooms]
    return SimpleNamespace(nodes=lambda: [*alive, *({"Alive": False, "Resources": room} for room in dead)])


def test_room_is_counted_by_machine_for_the_largest_stage():
    needs = {"poison": Needs(1, 0), "pretrain": Needs(4, 1)}
    ray = fake({"CPU": 8, "GPU": 4}, {"CPU": 6, "GPU": 4}, {"CPU": 64}, dead=[{"CPU": 64, "GPU": 64}])
    assert cluster.room_for(ray, needs) == 2 + 1 + 0


def test_a_stage_with_room_nowhere_is_named():
    with pytest.raises(BenchError, match="a pretrain stage takes 8 CPUs and 0 GPUs, and no machine") as caught:
        cluster.room_for(fake({"CPU": 4}, {"CPU": 4, "GPU": 1}), {"poison": Needs(), "pretrain": Needs(8, 0)})
    assert "(4 CPUs and 0 GPUs; 4 CPUs and 1 GPUs)" in str(caught.value)


@pytest.mark.parametrize(
    ("accelerator", "there", "used"), [("auto", 1, True), ("auto", 0, False), ("cpu", 1, False), ("cuda", 0, True)]
)
def test_gpus_are_used_where_they_are_unless_refused(accelerator, there, used):
    assert cluster.uses_gpus(fake({"CPU": 1, "GPU": there}), accelerator) is used


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BenchError, match=r'pip install "ssl-backdoor-bench\[ray\]"'):
        cluster.import_ray()
