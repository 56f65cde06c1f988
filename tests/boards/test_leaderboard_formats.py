"""The tables as CSV and LaTeX, a paper's numbers, and that no text of a record becomes more than text."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings, strategies as st

from bench.boards import FORMATS, details, read, renderer, short
from bench.boards.escaping import latex, url
from bench.boards.markdown import in_page
from bench.boards.reported import COLUMNS, reported
from bench.boards.rows import UNDEFINED
from bench.errors import BenchError
from bench.records import record
from bench.records.redact import csv_cell

RECORDS = Path(__file__).parents[1] / "fixtures" / "records"
NUMBERS = f"""{",".join(COLUMNS)}
Some paper,Table 2,scenes,htba,5 % poisoned,mean over 3 classes,mine,clean,acc,70.5
Some paper,Table 2,scenes,htba,5 % poisoned,mean over 3 classes,none,poisoned,asr,88
Some paper,Table 3,scenes,htba,5 % poisoned,mean over 3 classes,mine,train,recall,99
Some paper,Table 2,scenes,htba,9 % poisoned,mean over 3 classes,mine,clean,acc,60
"""


@pytest.fixture
def files(tmp_path):
    """A record of two seeds, and a paper's numbers."""
    first = json.loads((RECORDS / "v1-first.json").read_text())
    second = json.loads(json.dumps(first))
    second["run"]["seed"] = second["config"]["seed"] = 1
    second["metrics"]["defended"]["clean"]["acc"] = 87.2
    for name, found in (("a.json", first), ("b.json", second)):
        (tmp_path / name).write_text(json.dumps(found))
    (tmp_path / "paper.csv").write_text(NUMBERS)
    return [tmp_path / name for name in ("a.json", "b.json", "paper.csv")]


def lines(files, beside=None):
    return list(csv.DictReader(io.StringIO(renderer("csv")(read(files, beside)))))


def test_formats_by_name():
    assert FORMATS.keys() == {"markdown", "csv", "latex"}
    with pytest.raises(BenchError, match=r"unknown format 'markdwon'\. Did you mean 'markdown'\?"):
        renderer("markdwon")


def test_the_csv_has_every_line_and_every_number_unrounded(files, tmp_path):
    defended, none, *papers = lines(files, tmp_path)
    assert [(row["defense"], row["kind"]) for row in (none, defended)] == [
        ("none", "control"),
        ("poisoncam", "defense"),
    ]
    assert (defended["dataset"], defended["attack"], defended["preset"]) == ("scenes", "htba", "laptop")
    assert defended["fingerprint"].startswith("fc288c59ae6d")
    assert [defended[name] for name in ("seeds", "seed_list", "full_seeds", "status")] == [
        "2",
        "0 1",
        "0 1",
        "measured",
    ]
    assert [defended[name] for name in ("detection_rank", "full_rank")] == ["", ""], "there is nobody to be better than"
    assert (float(defended["ACC"]), float(defended["ACC half"])) == (pytest.approx(86.2), pytest.approx(12.706, 1e-4))
    assert float(defended["F1"]) == 86.95652173913044
    assert [float(defended[f"{k}.accuracy"]) for k in (5, 10, 20, 50, 100)] == [100, 100, 95, 60, 38]
    assert (none["removed"], none["points lost"], defended["points lost"]) == ("", "", "")
    assert defended["records"] == "a.json b.json"
    assert {row["status"] for row in papers} == {"paper-reported"}


def test_links_are_relative_to_where_the_table_lies(files, tmp_path):
    assert lines(files, tmp_path / "x" / "y")[0]["records"] == "../../a.json ../../b.json"
    assert lines(files)[1]["records"] == ""


@pytest.mark.parametrize(("text", "cell"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("\t=1", "'=1"), ("a=1", "a=1")])
def test_nothing_in_the_csv_is_computed_by_a_spreadsheet(text, cell):
    assert csv_cell(text) == cell


def test_the_latex_of_a_table(files, tmp_path):
    text = renderer("latex")(read(files, tmp_path))
    first, second, third, full, *_ = text.split("\\begin{table}")[1:]
    title = "Drawn scenes, 2,000 images of 32 px; htba: one trigger on 90 \\% of 'lime dots'"
    assert f"\\caption{{{title}. Full runs: what the new encoders do. Data set scenes; preset laptop; " in full
    assert "0.1 hours of computing in all, a stage that rows share counted once.}" in full
    assert "\\begin{tabular}{llrrr}" in first
    assert "defense & status & seeds & AUROC & AP \\\\" in first
    assert "defense & status & seeds & ACC & ASR & ACC triggered & ASR triggered & seconds \\\\" in full
    assert "poisoncam & measured & 2 & 86.2 $\\pm$ 12.7 & 3.1 $\\pm$ 0.0 &" in full
    assert full.count("% a.json b.json\n") == 2
    assert full.count("\\midrule") == 2, "above the controls"
    assert "removed & precision & recall & F1 \\\\" in second
    assert "top-10 & IoU@10 & CR@10 \\\\" in third
    assert text.count("\\toprule") == text.count("\\bottomrule") == text.count("\\end{table}") == 7


def test_latex_takes_no_command_from_a_text():
    assert latex("\\input{/etc/x} 50% & $x_1$ #~^ <|>\n") == (
        "\\textbackslash{}input\\{/etc/x\\} 50\\% \\& \\$x\\_1\\$ \\#\\textasciitilde{}\\textasciicircum{} "
        "\\textless{}\\textbar{}\\textgreater{}"
    )


KNOWN = re.compile(r"\\[&%$#_{}]|\\text[a-z]+\{\}|\$\\pm\$")


@settings(deadline=None, max_examples=80)
@given(st.text(max_size=30))
def test_any_text_is_one_line_and_no_markup_in_latex_csv_and_a_links_target(text):
    assert not set(KNOWN.sub("", latex(text))) & set("\\&%$#_{}~^")
    assert all(unicodedata.category(char) not in ("Cc", "Cf", "Zl", "Zp") for char in latex(text) + csv_cell(text))
    assert not csv_cell(text).startswith(("=", "+", "-", "@"))
    assert re.fullmatch(r"[A-Za-z0-9_.~/%-]*", url(text.encode("utf-8", "replace").decode()))


def test_a_papers_numbers_are_tables_of_their_own(files, tmp_path):
    first, second = reported(files[2], "paper.csv")
    assert first.title == "htba on scenes, 5 % poisoned, as the Some paper reports it"
    assert first.note.startswith("Table 2 and Table 3, mean over 3 classes. Not measured here; ")
    assert [(line.defense, line.seeds) for line in first.lines] == [("mine", 0), ("none", 0)]
    assert [first.lines[0].cell(name) for name in ("ACC", "ASR triggered", "recall")] == ["70.5", UNDEFINED, "99.0"]
    assert second.lines[0].cell("ACC") == "60.0"
    assert [table.group is None for table in read(files)] == [False, True, True]
    text = renderer("markdown")(read(files, tmp_path))
    assert re.search(r"\| mine +\| +not known +\| +70\.5 \|", text)
    assert "- records of mine: [source][r3]" in text
    assert "Every line is paper-reported." in text
    assert "[r3]: paper.csv\n" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "is no table of reported numbers; expected the columns paper, table"),
        (NUMBERS + "x\n", "is no table of reported numbers"),
        (NUMBERS.replace("clean,acc", "clean,accuracy"), "line 2: clean/accuracy is no metric of a table"),
        (NUMBERS.replace("70.5", "high"), "line 2: the value is 'high'; expected a number"),
        (NUMBERS.replace("70.5", "nan"), "line 2: the value is 'nan'"),
    ],
)
def test_reported_numbers_that_cannot_be_read(tmp_path, text, said):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(BenchError, match=said):
        reported(tmp_path / "x.csv", "")


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_records_of_every_version_are_read_and_shown(path):
    raw, found = json.loads(path.read_text()), record.load(path)
    assert (found["schema_version"], found["status"]) == (record.SCHEMA_VERSION, "measured")
    assert record.fingerprint(found) == record.fingerprint(raw), "it stays the same result"
    (table,) = read([path])
    if record.only_judges(found):
        (line,) = table.lines
        assert (line.label, line.cell("test AUROC")) == ("colour-test (htba)", "100.0")
        return
    label = found["run"]["defense"] + (" (control)" if found["run"].get("control") else "")
    assert {line.label for line in table.lines} == {"none", label}
    (line,) = [line for line in table.lines if line.label == label]
    assert line.cell("recall") == f"{found['metrics']['detection']['recall']:.1f}"


def test_there_is_a_record_of_every_version_of_the_schema():
    versions = {json.loads(path.read_text())["schema_version"] for path in RECORDS.glob("*.json")}
    assert versions == set(range(1, record.SCHEMA_VERSION + 1))


def test_the_committed_table_is_that_of_the_committed_records():
    folder = Path(__file__).parents[2] / "leaderboards"
    files = sorted([*(folder / "records").glob("*.json"), *(folder / "records").glob("*.csv")])
    tables = read(files, folder)
    text = renderer("markdown")(tables)
    longest = max(map(len, text.partition("\n## How")[0].splitlines()))
    assert longest < 400, "it can be read as it is"
    index, pages = folder / "README.md", details(tables, "README.md")
    page = index.read_text(encoding="utf-8")
    assert in_page(page, short(tables, "tables")) == page, "stale: docs/dev/pages.md has the command"
    assert {file.name for file in (folder / "tables").iterdir()} == pages.keys()
    for name, written in pages.items():
        assert (folder / "tables" / name).read_text(encoding="utf-8") == written, f"{name} is stale"
        assert len(written.encode()) < 500_000, "larger pages are cut off where repositories are read"
        for target in re.findall(r"^\[r\d+\]: (.*)$", written, re.MULTILINE):
            assert (folder / "tables" / unquote(target)).is_file()
    for name, anchor in re.findall(r"\]\(tables/([^)#]+)#([^)]+)\)", page):
        assert f'<a id="{anchor}"></a>' in pages[name]
