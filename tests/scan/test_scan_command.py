"""`bench scan` as a whole, on 160 small images; its verdict means nothing at that size, so it is also forced."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from rich.console import Console

from bench.cli import common, main as cli
from bench.errors import BenchError
from bench.scan import report, result
from bench.scan.decide import Decision, Finding
from bench.scan.lists import read_path

SMALL = ("--train", "smoke", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("scan-store")


@pytest.fixture
def scan(store, monkeypatch, capsys):
    """scan(folder, output, ...) -> (exit code, what it printed)."""

    def run(folder, output, *more, options=SMALL, store=store):
        monkeypatch.setattr(common, "out", Console(width=300))
        arguments = ["scan", str(folder), "-o", str(output), "--store", str(store), *options, *more]
        code = cli.guarded(lambda: cli.app(arguments, standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def rows(file):
    return [[read_path(cells[0]), *cells[1:]] for cells in (line.split("\t") for line in lines(file))]


def lines(file):
    return file.read_text("utf-8", "surrogateescape").splitlines()


@pytest.fixture
def messy(scenes_folder, tmp_path):
    """The scenes in folders, under odd names, with a copy, a broken file and a text."""
    folder = tmp_path / "my images"
    for number, path in enumerate(sorted(scenes_folder[0].iterdir())):
        target = folder / ("<b>&deep" if number % 2 else ".") / f"a\tb {number:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(folder / "a\tb 000.png", folder / "copy.png")
    (folder / "broken.jpg").write_bytes(b"no")
    (folder / "notes.txt").write_bytes(b"no")
    return folder


def test_a_scan_writes_its_page_and_lists(scan, messy, tmp_path):
    out = tmp_path / "report"
    code, said = scan(messy, out)
    assert code == 0, said
    found = json.loads((out / "report.json").read_text())
    assert f"Verdict: {found['verdict']}. " in said
    assert found["verdict"] in list(Finding)
    counts = found["counts"]
    assert (counts["files"], counts["images"], counts["unreadable"]) == (162, 160, 1)
    assert (counts["duplicate_groups"], counts["duplicate_files"], counts["passed_over"]) == (1, 2, 1)
    kept, removed = rows(out / "kept.txt"), rows(out / "removed.txt")
    assert len(kept) + len(removed) == 161
    assert {row[0] for row in kept + removed} == {
        str(path) for path in messy.rglob("*") if path.is_file() and path.name not in ("broken.jpg", "notes.txt")
    }
    assert all(0 <= float(score) <= 1 for _, score, _ in kept + removed)
    assert rows(out / "unreadable.txt") == [[str(messy / "broken.jpg"), "not an image, or not one that Pillow knows"]]
    assert [row[0] for row in rows(out / "duplicates.txt")] == [str(messy / "a\tb 000.png"), str(messy / "copy.png")]
    assert len(found["suspects"]) == 10


def test_the_page_stands_alone_and_names_cannot_add_markup(scan, messy, tmp_path):
    out = tmp_path / "report"
    scan(messy, out)
    text = (out / "report.html").read_text()
    assert "<b>&deep" not in text
    assert "&lt;b&gt;&amp;deep" in text
    lists = {f"{name}.txt" for name in ("kept", "removed", "unreadable", "duplicates")}
    links = set(re.findall(r"(?:src|href)=\"([^\"]{1,14})", text))
    assert links <= lists | {"data:,", "data:image/png", "report.json", "#limits"}
    assert "<script" not in text
    assert text.count("<figure") == 10


def test_the_same_files_again_come_from_the_store_and_other_names_cost_only_the_reading(scan, messy, tmp_path):
    scan(messy, tmp_path / "first")
    _, said = scan(messy, tmp_path / "second")
    assert said.count("(from the store)") == 4
    for name in ("report.html", "report.json", "kept.txt"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    messy.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "copy.png").rename(tmp_path / "elsewhere" / "other.png")
    _, said = scan(tmp_path / "elsewhere", tmp_path / "third")
    assert said.count("(from the store)") == 3


@pytest.mark.parametrize(("finding", "code"), [(Finding.FOUND, 1), (Finding.UNCLEAR, 0), (Finding.NONE, 0)])
def test_each_verdict_and_its_exit_code(scan, messy, tmp_path, monkeypatch, finding, code):
    monkeypatch.setattr(result, "decide", lambda evidence: Decision(finding=finding, because="Because.", steps=()))
    out = tmp_path / "report"
    assert scan(messy, out)[0] == 0
    got, said = scan(messy, out, "--fail-on-found")
    assert got == code
    assert f"Verdict: {finding}. Because." in said
    if finding is Finding.NONE:
        assert lines(out / "removed.txt") == []
    text = (out / "report.html").read_text()
    assert f"--{dict(zip(Finding, ('bad', 'open', 'good'), strict=True))[finding]})" in text


def test_with_an_encoder_from_a_file(scan, messy, tmp_path, store):
    assert scan(messy, tmp_path / "first")[0] == 0
    (trained,) = store.glob("pretrain/*/encoder.safetensors")
    options = ["encoder.options.channels=[8, 16, 32, 64]", "defense.masks=8", "defense.iterations=20"]
    more = [word for text in options for word in ("--set", text)]
    code, said = scan(messy, tmp_path / "second", *more, options=("--encoder", str(trained), "--accelerator", "cpu"))
    assert code == 0, said
    assert "not trained here" in (tmp_path / "second" / "report.html").read_text()
    wrong = ("--encoder", str(trained), "--accelerator", "cpu")
    code, said = scan(messy, tmp_path / "third", options=wrong)
    assert code == 2
    assert f"--encoder {trained} does not fit backbone" in said


def test_bad_input_ends_with_code_2_before_any_work(scan, messy, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(messy / "copy.png", few / "1.png")
    code, said = scan(few, tmp_path / "report")
    assert code == 2
    assert "1 different images that can be read (0 files cannot); expected 100 or more" in said
    assert scan(tmp_path / "nope", tmp_path / "report")[0] == 2
    assert scan(messy, messy)[0] == 2
    assert not (tmp_path / "report").exists()
    with pytest.raises(BenchError, match="is the folder that is scanned"):
        report.check_output(messy, messy)
