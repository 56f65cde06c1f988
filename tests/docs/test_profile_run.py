"""docs/tools/profile_run.py: what it measures of a run on the smallest preset."""

from __future__ import annotations

import pytest
import torch

from bench.parallel.at_once import at_once


@pytest.fixture
def tool(script):
    return script("profile_run")


def test_operations_by_hand(tool):
    """A product of (3, 4) and (4, 5): 2 x 3 x 4 x 5; a convolution of 1 x 1 on 6 x 6 pixels, 2 to 7 channels."""
    one, two = torch.rand(3, 4), torch.rand(4, 5)
    assert tool.operations(lambda: one @ two) == 120
    image, weight = torch.rand(1, 2, 6, 6), torch.rand(7, 2, 1, 1)
    with torch.inference_mode():
        assert tool.operations(lambda: torch.conv2d(image, weight)) == 2 * 36 * 2 * 7
    both = lambda: at_once([lambda: one @ two, lambda: two.T @ one.T], torch.device("cpu"))  # noqa: E731 - as the encoder and its copy
    assert tool.operations(both) == 240, "what a second thread would do counts, too"


def test_a_profile_has_a_line_for_each_part(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool, "SIDE", 64)
    tool.main(["--preset", "smoke", "--images", "48", "--accelerator", "cpu", "--set", "train.batch=8"])
    heading, *lines, last = capsys.readouterr().out.splitlines()
    assert heading.split() == ["part", "ms", "images/s", "of", "peak", "MB"]
    assert [line.split()[0] for line in lines] == ["read", "train,", "encode"]
    assert all(float(line.split()[-3].replace(",", "")) > 0 for line in lines)
    assert "GFLOP/s on cpu" in last
