"""docs/tools/pixels.py: its statistics by hand, and the file it writes."""

from __future__ import annotations

import csv
import sys

import pytest
import torch


@pytest.fixture
def pixels(script):
    return script("pixels")


@pytest.fixture
def images():
    """Grey; with two red pixels and a blue one far from them; half black and half white."""
    found = torch.full((3, 3, 12, 12), 100.0)
    found[1, :, 0, :2] = torch.tensor([255.0, 0.0, 0.0])[:, None]
    found[1, :, 11, 11] = torch.tensor([0.0, 0.0, 255.0])
    found[2, :, :6], found[2, :, 6:] = 0, 255
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pure colours in a window", [0, 1, 2]),  # of 4 px: red and blue are never in one
        ("pure pixels", [0, 3, 144]),
        ("black and white pixels", [0, 0, 144]),
        ("variance in a window", [0, None, 3 * 127.5**2]),
        ("colourfulness", [0, 255 * 3 / 144, 0]),
        ("edges", [0, None, 255 / 11]),  # one of eleven rows of differences
    ],
)
def test_statistics_by_hand(pixels, images, name, expected):
    for found, value in zip(pixels.STATISTICS[name](images).tolist(), expected, strict=True):
        assert value is None or found == pytest.approx(value)


def test_a_line_for_each_attack_and_statistic(pixels, monkeypatch, tmp_path, capsys):
    matrix, out = tmp_path / "m.toml", tmp_path / "pixels.csv"
    matrix.write_text(
        'preset = "smoke"\nuntil = "detection"\nseeds = [0, 1]\n'
        'attacks = ["htba", { name = "htba", settings = ["attack.saturation=0.2"] }, "no-attack"]\n'
        'defenses = ["colour", "palette"]\n'
    )
    monkeypatch.setattr(sys, "argv", ["pixels.py", str(matrix), "-o", str(out)])
    pixels.main()
    rows = list(csv.DictReader(out.read_text().splitlines()))
    attacks = {(row["preset"], row["attack"], row["seeds"]) for row in rows}
    assert attacks == {("smoke", "htba", "2"), ("smoke", "htba (saturation=0.2)", "2")}
    rows = [row for row in rows if row["attack"] == "htba"]
    assert {row["statistic"] for row in rows} == {*pixels.STATISTICS, "colour", "palette", "colour-count"}
    best_first = [float(row["average_precision"]) for row in rows]
    assert best_first == sorted(best_first, reverse=True)
    assert {row["statistic"]: row["average_precision"] for row in rows}["palette"] == "100.0"
