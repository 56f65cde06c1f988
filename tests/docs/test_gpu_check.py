"""docs/tools/gpu_check.py: a dry run on the CPU, and what a GPU must give."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch


@pytest.fixture
def check(script):
    return script("gpu_check")


@pytest.fixture
def parts(script):
    return script("gpu_parts")


@pytest.fixture
def measured(parts):
    """measured(name, device="cpu", tiny=True) -> all that a part says."""

    def give(name, device="cpu", tiny=True):
        return {key: value for found in parts.PARTS[name](parts.Asked(device, tiny)) for key, value in found.items()}

    return give


def test_every_part_has_a_budget_and_they_end_in_time(check, parts):
    assert list(check.BUDGETS) == list(parts.PARTS)
    assert sum(check.BUDGETS.values()) < 480


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tests", {"tests"}),
        ("peak", {"float32_tflops", "tf32_tflops", "bf16_tflops"}),
        ("k_means", {"rows", "clusters", "dimensions", "faiss_gpus", "seconds_cpu", "inertia_cpu"}),
        ("train_cifar10", {"batch", "size", "images_per_second", "gigaflops_per_image", "share_of_peak"}),
        ("train_paper", {"batch", "size", "images_per_second", "gigaflops_per_image", "share_of_peak"}),
    ],
)
def test_what_a_part_measures(measured, name, expected):
    found = measured(name)
    assert found.keys() == expected
    assert all(value > 0 for key, value in found.items() if key not in ("tests", "faiss_gpus"))


def test_the_search_is_measured_in_every_way(measured):
    found = measured("search")
    assert len(found) == 8
    assert min(found.values()) > 0


def test_recur_finds_what_is_planted(measured):
    found = measured("recur")
    assert (found["planted"], found["hit"], found["removed"]) == (25, 25, 25)


def test_a_device_equals_itself(measured):
    found = measured("equality")
    assert [found[name] for name in found if name.endswith("_off")] == [0, 0, 0]
    assert all(found[name] for name in found if name.endswith("_ok"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_cpu_gives(measured):
    found = measured("equality", "cuda", tiny=False)
    assert {name: found[name] for name in found if name.endswith("_ok") and not found[name]} == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_clusters_as_well_as_the_cpu(measured):
    found = measured("k_means", "cuda", tiny=True)
    assert found.get("inertia_gpu", found["inertia_cpu"]) == pytest.approx(found["inertia_cpu"], rel=0.02)


def test_a_part_that_takes_too_long_is_cut_and_one_that_fails_says_why(check):
    code = "import time; print('{\"a\": 1}', flush=True); print('{\"b', flush=True); time.sleep(60)"
    found = check.part([sys.executable, "-c", code], 1.5, {})
    assert (found["state"], found["a"], found["budget"]) == ("cut", 1, 1.5)
    assert "b" not in found
    found = check.part([sys.executable, "-c", "raise ValueError('no card')"], 60, {})
    assert (found["state"], found["error"]) == ("failed", "ValueError: no card")


def test_a_checkout_that_is_not_installed_is_imported_with_its_plugins(check, tmp_path):
    code = (
        "from bench.plugins.manager import Plugins as P; import bench;"
        "print(bench.__file__, P.load().make('defense', 'recur', {}))"
    )
    environment = {"PYTHONPATH": str(check.laid_out(tmp_path))}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path}/bench/__init__.py Recur(")


def test_one_json_comes_out(check, tmp_path):
    check.main(["-o", str(tmp_path / "gpu.json"), "--device", "cpu", "--tiny", "--parts", "tests"])
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found.keys() == {"machine", "parts", "total"}
    assert (found["machine"]["card"], found["machine"]["missing"]) == (None, [])
    assert found["parts"]["tests"]["state"] == "done"
