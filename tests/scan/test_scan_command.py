"""`bench scan` as a whole, on 120 small images; its verdict means nothing at that size, so it is also forced."""

from __future__ import annotations

import json
import re
import shutil
import zipfile

import pytest

from bench.scan import result
from bench.scan.decide import Decision, Finding
from bench.scan.listing import find
from bench.scan.lists import read_path
from bench.scan.report import usual_output

CHEAP = ("--set", "defense.masks=4", "--set", "defense.members=1")
SMALL = ("--train", "smoke", *CHEAP)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("scan-store")


@pytest.fixture
def scan(console, store):
    """scan(folder, output, ...) -> (exit code, what it printed)."""

    def run(folder, output, *more, options=SMALL):
        arguments = ("-o", output, "--store", store, "--accelerator", "cpu", *options, *more)
        code, out, err = console("scan", folder, *arguments)
        return code, out + err

    return run


def lines(file):
    first, *rest = file.read_text("utf-8", "surrogateescape").splitlines()
    assert first.startswith("# ")
    return rest


def rows(file):
    return [[read_path(path), *cells] for path, *cells in (line.split("\t") for line in lines(file))]


@pytest.fixture
def messy(scenes_files, tmp_path):
    """The scenes in folders, under odd names, with a copy, a broken file and a text."""
    folder = tmp_path / "my images"
    (folder / "<b>&deep").mkdir(parents=True)
    for number, data in enumerate(scenes_files):
        (folder / ("<b>&deep" if number % 2 else ".") / f"a\tb {number:03d}.png").write_bytes(data)
    shutil.copy(folder / "a\tb 000.png", folder / "copy.png")
    (folder / "broken.jpg").write_bytes(b"no")
    (folder / "notes.txt").write_bytes(b"no")
    return folder


def test_a_scan_writes_its_page_and_lists(scan, messy, tmp_path):
    """The page stands alone, and names cannot add markup."""
    out = tmp_path / "report"
    code, said = scan(messy, out)
    assert code == 0, said
    found = json.loads((out / "report.json").read_text())
    counts = found["counts"]
    quick, full = said.index("Quick look: "), said.index(f"Verdict: {found['verdict']}. ")
    assert said.startswith("122 files; a quick look, then poisoncam, encoder trained on these images")
    assert f"unreadable: {messy / 'broken.jpg'}: not an image" in said
    assert f"122 files, 1 unreadable, 120 different images; {counts['kept']} files kept, " in said
    assert quick < said.index("train an encoder on the images ...") < full
    assert found["verdict"] in list(Finding)
    assert (counts["files"], counts["images"], counts["unreadable"]) == (122, 120, 1)
    assert (counts["duplicate_groups"], counts["duplicate_files"], counts["passed_over"]) == (1, 2, 1)
    both = rows(out / "kept.txt") + rows(out / "removed.txt")
    assert len(both) == 121
    assert {row[0] for row in both} == {str(path) for path in messy.rglob("*.png")}
    assert all(0 <= float(score) <= 1 for _, score, *_ in both)
    assert rows(out / "unreadable.txt") == [[str(messy / "broken.jpg"), "not an image, or not one that Pillow knows"]]
    assert [row[0] for row in rows(out / "duplicates.txt")] == [str(messy / "a\tb 000.png"), str(messy / "copy.png")]
    assert len(found["suspects"]) == 10
    text = (out / "report.html").read_text()
    assert "<b>&deep" not in text
    assert "&lt;b&gt;&amp;deep" in text
    lists = {f"{name}.txt" for name in ("kept", "removed", "unreadable", "duplicates", "near-duplicates")}
    links = set(re.findall(r"(?:src|href)=\"([^\";]+)", text))
    assert links <= lists | {"data:,", "data:image/png", "report.json", "#limits"}
    assert "<script" not in text
    assert found["patches"][0]["images"] == 30
    assert text.count("<figure") == 10 + len(found["patches"])


def test_the_same_files_again_come_from_the_store_and_other_names_cost_only_the_reading(scan, messy, tmp_path):
    scan(messy, tmp_path / "first")
    _, said = scan(messy, tmp_path / "second")
    assert said.count("(from the store)") == 5
    assert "Quick look: " not in said, "nothing is waited for"
    for name in ("report.html", "report.json", "kept.txt"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    messy.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "copy.png").rename(tmp_path / "elsewhere" / "other.png")
    _, said = scan(tmp_path / "elsewhere", tmp_path / "third")
    assert said.count("(from the store)") == 4


@pytest.mark.parametrize(
    ("finding", "code", "colour"),
    [(Finding.FOUND, 1, "bad"), (Finding.RECURS, 1, "bad"), (Finding.UNCLEAR, 3, "open"), (Finding.NONE, 0, "good")],
)
def test_each_verdict_and_its_exit_code(scan, messy, tmp_path, monkeypatch, finding, code, colour):
    monkeypatch.setattr(result, "decide", lambda evidence: Decision(finding=finding, because="Because."))
    out = tmp_path / "report"
    assert scan(messy, out)[0] == 0
    got, said = scan(messy, out, "--fail-on-found")
    assert (got, f"Verdict: {finding}. Because." in said) == (code, True)
    assert finding is not Finding.NONE or lines(out / "removed.txt") == []
    assert f"--{colour})" in (out / "report.html").read_text()


@pytest.mark.slow
def test_with_an_encoder_from_a_file(scan, messy, tmp_path, store):
    assert scan(messy, tmp_path / "first")[0] == 0
    (trained,) = store.glob("pretrain/*/encoder.safetensors")
    channels = ("--set", "encoder.options.channels=[8, 16, 32, 64]")
    code, said = scan(messy, tmp_path / "second", *channels, options=("--encoder", trained, *CHEAP))
    assert code == 0, said
    assert "not trained here" in (tmp_path / "second" / "report.html").read_text()
    code, said = scan(messy, tmp_path / "third", options=("--encoder", trained))
    assert (code, f"--encoder {trained} does not fit backbone" in said) == (2, True)


def test_bad_input_ends_with_code_2_before_any_work(scan, messy, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(messy / "copy.png", few / "1.png")
    shutil.copy(messy / "broken.jpg", few / "2.jpg")
    for folder, output, part in (
        (few, "report", "few holds 2 files, 1 unreadable, 1 different image; expected 100 images or more"),
        (tmp_path / "nope", "report", "is not there; expected a folder of images, a .zip or .tar"),
        (messy, messy, "is the folder that is scanned"),
    ):
        code, said = scan(folder, tmp_path / output)
        assert (code, part in said) == (2, True), said
    assert f"Unreadable: {few / '2.jpg'}: not an image" in scan(few, tmp_path / "report")[1]
    assert not (tmp_path / "report").exists()


def test_the_help_says_what_the_exit_codes_are(console):
    code, out, _ = console("scan", "--help")
    said = " ".join(out.split())
    assert code == 0
    assert "With --fail-on-found: 0 nothing found, 1 a trigger or a planted patch found, 3 unclear." in said


def test_without_output_no_report_of_other_images_is_written_over(tmp_path, monkeypatch):
    """photos/ and photos.zip, and a second folder photos/ elsewhere, are three."""
    for name in ("photos", "more/photos"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.png").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("1.png", b"x")
    monkeypatch.chdir(tmp_path)
    found = []
    for source in ("photos", "photos.zip", "more/photos", "./photos/", str(tmp_path / "more" / "photos")):
        folder = usual_output(find(source))
        folder.mkdir(exist_ok=True)
        (folder / "report.json").write_text(json.dumps({"folder": source}))
        found.append(folder.name)
    assert found == ["scan-photos", "scan-photos.zip", "scan-photos-2", "scan-photos", "scan-photos-2"]
