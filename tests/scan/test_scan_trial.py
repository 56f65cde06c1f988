"""docs/scan_trial.py: what it writes, and its arithmetic."""

from __future__ import annotations

import csv
import importlib.util
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError

SCRIPT = Path(__file__).parents[2] / "docs" / "scan_trial.py"


@pytest.fixture(scope="module")
def trial():
    spec = importlib.util.spec_from_file_location("scan_trial", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *words: (lambda options: options.run(options))(module.arguments([str(word) for word in words]))


@pytest.fixture
def archive(tmp_path, picture):
    path = tmp_path / "real.zip"
    with zipfile.ZipFile(path, "w") as file:
        for place, name in enumerate(("automobile", "cat", "dog")):
            for number in range(20):
                file.writestr(f"real/train/{name}/{number}.png", picture(100 * place + number, 32))
            file.writestr(f"real/val/{name}/0.png", picture(999, 32))
    return path


def truth_of(out):
    with (out / "truth.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_folder_with_a_trigger_in_some(trial, archive, tmp_path, capsys):
    trial("make", archive, tmp_path / "out", "--images", 31, "--poisoned", 4, "--of-target", 8)
    assert capsys.readouterr().out.startswith("31 images, 4 with a trigger")
    rows = truth_of(tmp_path / "out")
    assert {row["name"] for row in rows} == {path.name for path in (tmp_path / "out" / "images").iterdir()}
    marked = [row for row in rows if row["poisoned"] == "1"]
    assert len(marked) == 4
    patches = []
    for row in marked:
        pixels = np.asarray(Image.open(tmp_path / "out" / "images" / row["name"]))
        top, left, height, width = (int(row[name]) for name in ("top", "left", "height", "width"))
        assert (height, width) == (10, 10)
        patches.append(pixels[top : top + height, left : left + width].tolist())
    assert patches == [patches[0]] * 4
    trial("make", archive, tmp_path / "again", "--images", 31, "--poisoned", 4, "--of-target", 8)
    assert truth_of(tmp_path / "again") == rows


def test_a_clean_folder(trial, archive, tmp_path):
    trial("make", archive, tmp_path / "out", "--images", 30, "--poisoned", 0)
    assert {row["poisoned"] for row in truth_of(tmp_path / "out")} == {"0"}


def test_what_cannot_be(trial, archive, tmp_path):
    with pytest.raises(BenchError, match="no class 'cow'; there are automobile, cat, dog"):
        trial("make", archive, tmp_path / "out", "--target", "cow")
    with pytest.raises(BenchError, match="has 20 images, 1666 are wanted"):
        trial("make", archive, tmp_path / "out")


def report(folder, verdict, measures):
    folder.mkdir()
    (folder / "kept.txt").write_text("x/c.png\t0.1\t\nx/d.png\t0.1\t\n")
    (folder / "removed.txt").write_text("x/a.png\t0.9\t\nx/b.png\t0.9\t\n")
    found = {
        "verdict": verdict,
        "suspects": [{"paths": ["x/a.png"]}, {"paths": ["x/c.png"]}],
        "seconds": {"train": 2.4, "search": 1.2},
        "evidence": {"top": measures, "usual": measures, "removed_share": 0.5},
    }
    (folder / "report.json").write_text(json.dumps(found))
    return folder


MEASURES = {"pull": 0.5, "agreement": 0.25, "likeness": 0.125}


def test_recall_and_precision(trial, tmp_path, capsys):
    lines = ["name\tpoisoned", "a.png\t1", "b.png\t0", "c.png\t1", "d.png\t1"]
    (tmp_path / "truth.tsv").write_text("\n".join(lines) + "\n")
    trial("score", tmp_path / "truth.tsv", report(tmp_path / "r", "unclear", MEASURES))
    said = capsys.readouterr().out
    assert "verdict: unclear; 3 of 4 poisoned, 2 removed" in said
    assert "recall 33.3 %, precision 50.0 %" in said
    assert "of its 2 first suspects 2 are poisoned; 4 s" in said


def test_a_table_counts_verdicts(trial, tmp_path, capsys):
    first = report(tmp_path / "1", "unclear", MEASURES)
    second = report(tmp_path / "2", "unclear", None)
    trial("table", first, second)
    said = capsys.readouterr().out
    assert "| unclear | 0.125 (0.125) | 0.250 (0.250) | 0.500 (0.500) | 50.0 % |" in said
    assert "| unclear | - | - | - | 50.0 % |" in said
    assert "unclear: 2 of 2" in said
