"""`bench scan --quick` as a whole: it reads and searches, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from bench.scan import scan as stages
from bench.scan.lists import read_path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("quick-store")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """folder(files) -> a folder of them, 000.png, 001.png, ..."""

    def make(files):
        found = tmp_path_factory.mktemp("images")
        for number, data in enumerate(files):
            (found / f"{number:03d}.png").write_bytes(data)
        return found

    return make


@pytest.fixture(scope="module")
def planted(folder, planted_files):
    """Every fourth of 120 files bears one patch; the first is there twice."""
    found = folder(planted_files)
    (found / "copy.png").write_bytes(planted_files[0])
    return found


@pytest.fixture
def quick(console, store, monkeypatch):
    """quick(folder, output, ...) -> (exit code, what it printed); it fails where an encoder is wanted."""

    def never(*arguments):
        raise AssertionError("a quick scan wants an encoder")

    monkeypatch.setattr(stages, "encoder_stage", never)

    def run(folder, output, *more):
        code, out, err = console(
            "scan", folder, "--quick", "-o", output, "--store", store, "--accelerator", "cpu", *more
        )
        return code, out + err

    return run


def paths(file):
    first, *rest = file.read_text().splitlines()
    assert first.startswith("# ")
    return [read_path(line.split("\t")[0]) for line in rest]


def test_a_planted_patch_is_shown_and_its_carriers_listed(quick, planted, tmp_path, store):
    out = tmp_path / "report"
    code, said = quick(planted, out)
    assert code == 0, said
    assert {each.name for each in store.glob("[!.]*")} == {"images", "clean"}, "no stage but these two"
    found = json.loads((out / "report.json").read_text())
    assert found["verdict"] == "a planted patch recurs"
    assert set(found["seconds"]) == {"read the images", "look for patches that recur"}
    (trigger,) = found["search"]["triggers"]
    assert trigger["images"] == 30
    assert all(abs(side - 12) <= 1 for side in trigger["size"])
    height, width = trigger["size"]
    shares = dict.fromkeys(f"{100 * side / 32:.0f}" for side in trigger["size"])
    size = f"{' x '.join(shares)} % of the image's width ({height} x {width} px at 32 px)"
    assert "Verdict: a planted patch recurs. " in said
    assert f"  patch 1: {size} in 30 of 120 images\n" in said
    carriers = [str(planted / f"{number:03d}.png") for number in range(0, 120, 4)]
    assert paths(out / "removed.txt") == [*carriers, str(planted / "copy.png")]
    assert len(paths(out / "kept.txt")) == 90
    assert 'To leave out: 31 of 121 files, verdict "a planted patch recurs"' in (out / "removed.txt").read_text()
    assert {line.split("\t")[3] for line in (out / "removed.txt").read_text().splitlines()[1:]} == {"1"}

    text = (out / "report.html").read_text()
    assert f'src="data:image/png;base64,{trigger["picture"]}"' in text
    assert f"this patch, {size.replace(chr(39), '&#39;')}, in 30 images" in text
    assert "Framed: where." in text
    assert all(suspect["removed"] and min(suspect["box"]) >= 0 for suspect in found["suspects"])
    assert len(re.findall(r"Suspicious image \d+, its window framed", text)) == len(found["suspects"]) == 10
    assert "leave the 31 files that carry it out of training" in text
    assert "--bad)" in text
    assert "trigger found" not in said + text.lower()


def test_near_duplicates_are_no_patch_and_all_is_kept(quick, folder, alike_files, tmp_path):
    out = tmp_path / "report"
    code, said = quick(folder(alike_files), out, "--fail-on-found")
    assert code == 0, said
    assert "Verdict: no planted patch found. " in said
    assert " in 120 of " not in said
    assert "near-duplicates: 21 images are nearly the same picture, in 1 group; no sign of a trigger" in said
    assert (len(paths(out / "kept.txt")), paths(out / "removed.txt")) == (120, [])
    found = json.loads((out / "report.json").read_text())
    assert found["search"]["triggers"] == []
    text = (out / "report.html").read_text()
    assert "--good)" in text
    assert "this patch" not in text
    assert len(found["suspects"]) == text.count("<figure") == 10
    assert (found["counts"]["near_duplicate_groups"], found["counts"]["near_duplicate_images"]) == (1, 21)
    assert len(paths(out / "near-duplicates.txt")) == 21
    assert "<h2>Near-duplicates</h2>" in text


def test_exit_code_1_is_asked_for_and_a_second_scan_computes_nothing(quick, planted, tmp_path):
    quick(planted, tmp_path / "first")
    code, said = quick(planted, tmp_path / "second", "--fail-on-found")
    assert (code, said.count("(from the store)")) == (1, 2)
    assert (tmp_path / "first" / "report.html").read_bytes() == (tmp_path / "second" / "report.html").read_bytes()


@pytest.mark.parametrize("other", [("--train", "smoke"), ("--encoder", "resnet18"), ("--defense", "poisoncam")])
def test_what_needs_an_encoder_is_refused_before_any_work(refused, planted, tmp_path, other):
    message = refused("scan", planted, "--quick", *other, "-o", tmp_path / "report", "--store", tmp_path / "store")
    assert f"--quick and {other[0]} exclude each other" in message
    assert not (tmp_path / "report").exists()
    assert not (tmp_path / "store").exists()


def test_too_few_images_are_refused(quick, folder, planted_files, tmp_path):
    code, said = quick(folder(planted_files[:9]), tmp_path / "report")
    assert (code, "expected 100 images or more" in said, "Traceback" in said) == (2, True, False)


@pytest.mark.parametrize("kind", ["zip", "list"])
def test_an_archive_and_a_list_of_the_same_files_give_the_same(quick, planted, tmp_path, kind):
    """Under the names in the archive, or the paths in the list: here those that a scan kept and removed."""
    quick(planted, tmp_path / "first")
    source = tmp_path / f"files.{kind}"
    if kind == "zip":
        source = shutil.make_archive(tmp_path / "files", "zip", planted)
    else:
        source.write_bytes(b"".join((tmp_path / "first" / name).read_bytes() for name in ("kept.txt", "removed.txt")))
    code, said = quick(source, tmp_path / "second")
    assert (code, said.count("(from the store)")) == (0, 1), said
    first, second = (paths(tmp_path / name / "removed.txt") for name in ("first", "second"))
    assert second == ([Path(path).name for path in first] if kind == "zip" else first)
    assert json.loads((tmp_path / "second" / "report.json").read_text())["folder"] == str(source)
