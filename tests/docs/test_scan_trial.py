"""docs/tools/scan_trial.py: what it writes, and its arithmetic."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.pipeline.events import silent
from bench.pipeline.pretrain import encoder_of
from bench.pipeline.runner import make_stages
from bench.records.build import keep_record
from bench.scan.evidence import gather


@pytest.fixture
def trial(script):
    module = script("scan_trial")
    return lambda *words: (lambda options: options.run(options))(module.arguments([str(word) for word in words]))


@pytest.fixture
def archive(tmp_path):
    def picture(seed):
        pixels, file = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8), io.BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        return file.getvalue()

    path = tmp_path / "real.zip"
    with zipfile.ZipFile(path, "w") as file:
        for place, name in enumerate(("automobile", "cat", "dog")):
            for number in range(20):
                file.writestr(f"real/train/{name}/{number}.png", picture(100 * place + number))
            file.writestr(f"real/val/{name}/0.png", picture(999))
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


def test_which_images_are_taken_for_one_picture(trial, archive, tmp_path):
    """Noise is like nothing else; what is changed is still the same picture, and `scenes` are drawn anew each."""
    trial("twins", archive, "--images", 30, "-o", tmp_path / "twins.csv")
    with (tmp_path / "twins.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["images"], row["pairs"]) for row in rows[:2]] == [
        ("photographs, seed 0", "435"),
        ("scenes, seed 0", "435"),
    ]
    assert [
        row["taken for one picture"] for row in rows if row["images"].startswith("photo") and not row["change"]
    ] == [*"000"]
    found = {row["change"]: int(row["taken for one picture"]) for row in rows if row["change"]}
    assert found.keys() == {"JPEG 50", "darker by a fifth", "noise, deviation 8 of 255", "scaled to 24 px and back"}
    assert found["darker by a fifth"] == found["noise, deviation 8 of 255"] == 30


def report(folder, verdict, measures, seed=0):
    folder.mkdir(parents=True)
    (folder / "kept.txt").write_text("# To keep\nx/c.png\t0.1\t\nx/d.png\t0.1\t\n")
    (folder / "removed.txt").write_text("x/a.png\t0.9\t\nx/b.png\t0.9\t\n")
    found = {
        "verdict": verdict,
        "suspects": [{"paths": ["x/a.png"]}, {"paths": ["x/c.png"]}],
        "seconds": {"train": 2.4, "search": 1.2},
        "evidence": {"top": measures, "usual": measures, "removed_share": 0.5},
        "settings": {"seed": seed},
        "search": {},
        "look": {"triggers": [{}]},
    }
    (folder / "report.json").write_text(json.dumps(found))
    return folder


MEASURES = {"pull": 0.1239, "gap": 0.25, "alike": 4}
TRUTH = "name\tpoisoned\na.png\t1\nb.png\t0\nc.png\t1\nd.png\t1\n"


def test_a_trial_becomes_a_csv_with_a_line_a_scan(trial, tmp_path, capsys):
    """Three poisoned of four, one of them removed, and one other; then a clean folder, where nothing is located."""
    for name, truth, verdict, measures in (("bad", TRUTH, "unclear", MEASURES), ("good", "", "unclear", None)):
        report(tmp_path / "trial" / name / "report", verdict, measures, seed=7)
        (tmp_path / "trial" / name / "truth.tsv").write_text(truth or "name\tpoisoned\na.png\t0\n")
    trial("collect", tmp_path / "trial", "-o", tmp_path / "new" / "scans.csv")
    assert (tmp_path / "new" / "scans.csv").read_text().splitlines() == [
        "scan,images,triggered,seed,verdict,patches,alike,gap,pull,alike of any window,gap of any window,"
        "pull of any window,removed,recall,precision,seconds",
        "bad,4,3,7,unclear,1,4,0.250,0.124,4,0.250,0.124,2,33.3,50.0,4",
        "good,4,0,7,unclear,1,,,,,,,2,,,4",
    ]
    assert capsys.readouterr().out == "clean: unclear: 1\nwith a trigger: unclear: 1\n"
    with pytest.raises(BenchError, match=r"no scan lies in .*new: expected NAME/report/report\.json"):
        trial("collect", tmp_path / "new", "-o", tmp_path / "x.csv")


def test_a_scans_measures_of_a_finished_run(trial, workshop, copied, tmp_path, capsys):
    """They are those that a scan of the same images, with the same encoder and verdict, would give."""
    pipeline = workshop.pipeline(store=copied)
    record = keep_record(pipeline)[1]
    trial("runs", record, "--store", copied, "-o", tmp_path / "limits.csv")
    with (tmp_path / "limits.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["run"] == "htba (red stripes), 20 triggered, poisoncam, seed 0"
    assert (row["images"], row["verdict"]) == ("160", "no trigger found")
    encoder = encoder_of(pipeline.folder(pipeline.threat), pipeline.config, 32, pipeline.machine)
    draws = pipeline.config.seeds.child("scan")
    found = gather(pipeline.poisoned_train, encoder, pipeline.verdict, draws, lambda done, total: None)
    assert row["suspects of each trigger"] == str(pipeline.train_manifest.poisoned[found.suspects].sum())
    assert (row["pull"], row["pull of any window"]) == (f"{found.top.pull:.3f}", f"{found.usual.pull:.3f}")
    other = workshop.pipeline(store=copied, defense="none")
    make_stages(other, silent)
    with pytest.raises(BenchError, match="its defense locates nothing; expected a run with poisoncam or patchsearch"):
        trial("runs", keep_record(other)[1], "--store", copied, "-o", tmp_path / "x.csv")
