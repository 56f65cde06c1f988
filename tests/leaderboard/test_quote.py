"""Numbers that a page quotes from tables and files: what is selected, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from bench.errors import BenchError
from bench.leaderboard import quote, read
from bench.leaderboard.sample import Form, difference, of_values, shown

FIRST = Path(__file__).parents[1] / "fixtures" / "records" / "v1-first.json"
PAPER = """paper,table,dataset,attack,setting,note,defense,split,metric,value
Some paper,Table 2,stl10,htba,5 % poisoned,mean over 3 classes,poisoncam,poisoned,asr,4.1
"""


def make(seed, asr, *, target=9, defense="poisoncam", removed=100, placed=True, epochs=20):
    """A record: ASR triggered 90 before, `asr` after; seconds of the search 30 + seed."""
    record = json.loads(FIRST.read_text())
    record["run"] |= {"seed": seed, "defense": defense}
    record["config"] |= {"seed": seed, "defense": {"name": defense}}
    record["config"]["attack"]["target"] = target
    record["config"]["train"]["epochs"] = epochs
    metrics = record["metrics"]
    metrics["none"]["poisoned"]["asr"], metrics["defended"]["poisoned"]["asr"] = 90.0, asr
    metrics["detection"]["removed"] = removed
    metrics["clean_removed"] = {"pink halves": seed, "St. Bernard": 7}
    metrics["localisation"] = {"10": {"accuracy": 100.0, "iou": 60.0 + seed, "cr": 80.0}} if placed else {}
    for name, stage in record["stages"].items():
        stage["key"] = f"{abs(hash((name, seed, target, defense, epochs))):064x}"[:64]
    record["stages"]["defense"]["seconds"] = 30.0 + seed
    return record


@pytest.fixture
def tables(tmp_path):
    """poisoncam on class 9 (three seeds), class 6 (one) and, after 5 and 6 epochs, on class 7; patchsearch on 9; and a
    paper's number."""
    records = [make(seed, asr, removed=100 + seed) for seed, asr in enumerate([10.0, 16.0, 13.0])]
    records += [make(0, 2.0, target=6), *(make(seed, 12.0, defense="patchsearch") for seed in range(3))]
    records += [make(0, 5.0, target=7, epochs=epochs) for epochs in (5, 6)]
    files = [tmp_path / f"{number}.json" for number in range(len(records))]
    for file, record in zip(files, records, strict=True):
        file.write_text(json.dumps(record))
    (tmp_path / "paper.csv").write_text(PAPER)
    return read([*files, tmp_path / "paper.csv"])


NINE = "laptop attack.target=9; poisoncam; "


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (NINE + "ASR triggered", "13.0 ± 3.0"),  # 10, 16, 13
        (NINE + "asr triggered; mean", "13.0"),
        (NINE + "ASR triggered; mean; 0 digits", "13"),
        (NINE + "ASR triggered; 2 digits", "13.00 ± 3.00"),
        (NINE + "ASR triggered; spread", "3.0"),
        (NINE + "ASR triggered; each", "10.0, 16.0, 13.0"),
        (NINE + "ASR triggered; min", "10.0"),
        (NINE + "ASR triggered; max; 0 digits", "16"),
        (NINE + "removed", "101.0 ± 1.0"),
        (NINE + "removed; each", "100, 101, 102"),
        (NINE + "IoU@10", "61.0 ± 1.0"),
        (NINE + "top-10; mean", "100.0"),
        (NINE + "seconds of defense", "31 ± 1"),
        (NINE + "clean removed of pink halves", "1.0 ± 1.0"),
        (NINE + "clean removed; each", "7, 8, 9"),
        (NINE + "clean removed of st. bernard; each", "7, 7, 7"),
        ("laptop attack.target=6; poisoncam; clean removed of St. Bernard", "7"),
        (NINE + "seeds", "3"),
        (
            "laptop attack.target=6; all; hours; 4 digits",
            "0.0628",
        ),  # 225.91 s, shared stages once
        ("htba (target 6) on scenes, preset laptop; poisoncam; ASR triggered", "2.0"),
        ("htba on scenes, preset laptop attack.target=6; poisoncam; ASR triggered", "2.0"),
        ("LAPTOP attack.target=6; poisoncam; removed", "100"),
        ("paper stl10; poisoncam; ASR triggered", "4.1"),
        # seed by seed: -2, 4, 1
        (f"{NINE}ASR triggered minus laptop attack.target=9; patchsearch; ASR triggered", "1.0 ± 3.0"),
        ("laptop target 7 train.epochs=5; poisoncam; ASR triggered", "5.0"),
        (f"{NINE}ASR triggered; max minus laptop attack.target=6; poisoncam; ASR triggered", "14.0"),
        (f"{NINE}ASR triggered; mean minus paper; poisoncam; ASR triggered; mean; 2 digits", "8.90"),
    ],
)
def test_what_an_expression_gives(tables, tmp_path, expression, text):
    assert quote.number(expression, tables, tmp_path) == text


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            "labtop; none; ACC",
            r"no table has all of 'labtop' in its title\. Did you mean 'laptop'\? There are 'htba \(target 6\) on",
        ),
        (
            "htba; poisoncam; ACC",
            r"'htba' is more than one table: 'htba \(target 6\) on scenes, preset laptop' \(fingerprint=.*stl10",
        ),
        (
            "laptop attack.target=7; poisoncam; ACC",
            r"more than one line of .*train.epochs=5.*train.epochs=6.*Put a setting, as name=",
        ),
        ("laptop attack.target=8; none; ACC", r"no line of .* attack\.target is 6 or 7 or 9\."),
        ("laptop attack.targt=6; none; ACC", r"Did you mean 'attack\.target'\?"),
        ("laptop status=submitted; none; ACC", r"status is measured\."),
        ("laptop fingerprint=00; none; ACC", r"Fingerprints: [0-9a-f]{12} \(metric version 1\)"),
        (NINE.replace("cam", "can") + "ACC", r"no line 'poisoncan' in .*\. Did you mean 'poisoncam'\?"),
        (NINE + "recal", r"no column 'recal' in .*\. Did you mean 'recall'\?"),
        ("stl10; all; hours", "no table with measured rows has all of 'stl10'"),
        ("all; poisoncam; hours", "no table has all of 'all' in its title"),
        (NINE + "IoU@7", r"no column 'IoU@7' in .*\. Did you mean 'IoU@10'\?"),
        (
            "laptop attack.target=6; none; removed",
            r"'none' has no 'removed' in .*; it has seeds, ACC,",
        ),
        (NINE + "ACC; maen", r"'maen' is no form of a number\. Did you mean 'mean'\?"),
        (NINE + "ACC; mean; min", r"'min' is no form"),
        ("laptop attack.target=6; poisoncam; ACC; spread", "one value has no spread"),
        ("laptop; poisoncam", "expected 'TABLE; DEFENSE; COLUMN'"),
        ("; none; ACC", "which table"),
        ("laptop 'x; none; ACC", "No closing quotation"),
        (f"{NINE}ACC minus {NINE}ACC minus {NINE}ACC", "two sides; got 3"),
        (f"{NINE}ACC minus laptop attack.target=6; none; ACC", r"values of \(0, 1, 2\) and of \(0\) cannot be paired"),
        (f"{NINE}ACC minus {NINE}ACC; mean", "a difference is of two numbers: put one of mean, spread, min, max"),
        (f"{NINE}ACC; each minus {NINE}ACC; mean", "a difference is of two numbers"),
    ],
)
def test_what_selects_nothing_or_two_things_is_an_error(tables, tmp_path, expression, said):
    with pytest.raises(BenchError, match=said):
        quote.number(expression, tables, tmp_path)


def test_a_number_is_the_leaderboards(tables, tmp_path):
    """Whatever is in a cell of the table stands in the sentence."""
    table = tables[0]
    for line in table.lines:
        which = f"laptop attack.target={line.config['attack.target']}; {line.defense}; "
        for title, name in {**table.rates, **table.found}.items():
            if line.cell(name) != "–":  # noqa: RUF001 - an en dash, as in the leaderboard
                assert quote.number(which + title, tables, tmp_path) == line.cell(name)


def test_undefined_seeds_are_shown_and_not_paired(tmp_path):
    records = [make(0, 10.0), make(1, 16.0, placed=False), make(2, 13.0)]
    for number, record in enumerate(records):
        (tmp_path / f"{number}.json").write_text(json.dumps(record))
    tables = read(sorted(tmp_path.glob("*.json")))
    assert quote.number("laptop; poisoncam; IoU@10; each", tables, tmp_path) == "60.0, –, 62.0"  # noqa: RUF001
    assert quote.number("laptop; poisoncam; IoU@10; min", tables, tmp_path) == "60.0"
    with pytest.raises(BenchError, match=r"values of \(0, 2\) and of \(0, 1, 2\) cannot be paired"):
        quote.number("laptop; poisoncam; IoU@10 minus laptop; poisoncam; ACC", tables, tmp_path)


def test_small_tables(tables, tmp_path):
    text = quote.table("laptop attack.target=9; none, poisoncam; ASR triggered, removed, seeds; mean", tables, tmp_path)
    assert text.splitlines() == [
        "| defense   |   ASR triggered |   removed |   seeds |",
        "|:----------|----------------:|----------:|--------:|",
        "| none      |            90.0 |         – |       3 |",  # noqa: RUF001
        "| poisoncam |            13.0 |     101.0 |       3 |",
    ]
    every = quote.table("laptop attack.target=9; all; ACC", tables, tmp_path).splitlines()
    assert [row.split()[1] for row in every[2:]] == ["none", "patchsearch", "poisoncam"]
    with pytest.raises(BenchError, match="no column 'AC' "):
        quote.table("laptop attack.target=9; none; AC", tables, tmp_path)


# --- files ------------------------------------------------------------------------------------------------

SCANS = {"found": {"recall": 99.25, "images": 250}, "scans": [{"seed": 0, "p": 98.4}, {"seed": 1, "p": 100}], "v1.0": 2}
CSV = "nodes,seconds,who\n1,299.5,a\n2,35.1,b\n"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("file a/scan.json; found.recall", "99.2"),  # as Python rounds 99.25
        ("file a/scan.json; found.recall; 2 digits", "99.25"),
        ("file a/scan.json; found.images", "250"),
        ("file a/scan.json; scans.0.p", "98.4"),
        ("file a/scan.json; scans.*.p; min", "98.4"),
        ("file a/scan.json; scans.*.p", "99.2 ± 1.1"),
        ("file a/scan.json; scans.*.seed; each", "0, 1"),
        ("file a/scan.json; v1.0", "2"),
        ("file a/list.json; *", "1.5 ± 0.7"),
        ("file a/list.json; values", "1.5 ± 0.7"),
        ("file a/x.csv; 2.seconds", "35.1"),
        ("file a/x.csv; *.seconds; max", "299.5"),
        ("file a/same.csv; 1.seconds", "7"),
        ("file a/study.csv; where line=x and step=4; none.asr", "11.0 ± 1.4"),
        ("file a/study.csv; where step=4 and line=x; none.asr; each", "10.0, 12.0"),
        ("file a/study.csv; where step=2; none.asr", "2.5"),
        ("file a/study.csv; where line=z, 2 targets; none.asr", "1.0"),
        (
            "file a/study.csv; where line=y and step=4; none.asr minus "
            "file a/study.csv; where line=x and step=4; none.asr",
            "3.0 ± 2.8",
        ),
        ("file a/study.csv; where step=4; none.asr; max", "17.0"),  # two rows of a seed
        ("file a/gaps.csv; b*.recall; min", "3"),
        ("file a/gaps.csv; *.recall; each", "1, 4, 3"),
        ("file a/gaps.csv; b2.sec*", "7"),
        ("file a/x.csv; 1.seconds minus file a/x.csv; 2.seconds", "264.4"),
    ],
)
def test_numbers_of_a_file(tmp_path, expression, text):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "scan.json").write_text(json.dumps(SCANS))
    (folder / "list.json").write_text("[1, 2]" if "*" in expression else '{"values": [1, 2]}')
    (folder / "x.csv").write_text(CSV)
    (folder / "gaps.csv").write_text("scan,recall,seconds\na1,1,9\n\nb1,4,8\nb2,3,7\nb3,,6\n")
    study = "line,step,seed,none.asr\nx,4,1,10.0\nx,4,0,12.0\ny,4,0,13.0\ny,4,1,15.0\nx,2,0,2.5\n"
    study += '"z, 2 targets",,0,1.0\ny,4,2,17.0\n'
    (folder / "study.csv").write_text(study if "y and step" not in expression else study.replace("y,4,2", "y,5,2"))
    (folder / "same.csv").write_text("kind,seconds\nclean,5\nclean,7\n")
    assert quote.number(expression, [], tmp_path) == text


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("file scan.json; fond.recall", r"scan\.json: no 'fond\.recall' at its top\. Did you mean 'found'\?"),
        ("file scan.json; found.recal", r"no 'recal' at 'found'\. Did you mean 'recall'\?"),
        ("file scan.json; found", "found is .*; expected a number"),
        ("file scan.json; scans.*.q", r"no 'q' at 'scans\.0'"),
        ("file scan.json; found.recall.x", r"no 'x' at 'found\.recall'\."),
        ("file scan.json; ", "which number of scan.json"),
        ("file absent.json; a", "cannot read .*absent.json as JSON"),
        ("file absent.csv; a", "cannot read .*absent.csv as CSV"),
        ("file scan.txt; a", r"expected a file that ends in \.json or \.csv"),
        ("file scan.json", "expected 'PATH; KEY'"),
        ("file x.csv; 1.who", r"1\.who is 'a'; expected a number"),
        ("file empty.csv; *.a", "there is nothing at"),
        ("file ragged.csv; 1.a", r"ragged\.csv: '1' has 1 cells; expected 2"),
        ("file x.csv; 3.seconds", r"3\.seconds is 'None'; expected a number"),
        ("file x.csv; where nods=1; seconds", r"x\.csv: no column 'nods'\. Did you mean 'nodes'\?"),
        ("file x.csv; where nodes=1 and who=b; seconds", r"x\.csv: no row has 'who=b'; there is a$"),
        ("file x.csv; where nodes=1; second", r"no 'second' at '0'\. Did you mean 'seconds'\?"),
        ("file x.csv; where nodes=1", "expected 'PATH; where COLUMN=CELL; KEY'"),
        ("file scan.json; where a=1; b", r"scan\.json: rows can be chosen \(where \.\.\.\) of a \.csv only"),
        ("file x.csv; 4*.seconds", r"no '4\*\.seconds' at its top\."),
    ],
)
def test_a_file_that_has_no_such_number(tmp_path, expression, said):
    (tmp_path / "scan.json").write_text(json.dumps(SCANS))
    (tmp_path / "x.csv").write_text(CSV + "3,,c\n")
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1\n")
    with pytest.raises(BenchError, match=said):
        quote.number(expression, [], tmp_path)


MIXED = 'scan,verdict,"recall | %",n\na-1,"<b>found</b>, *sure*",100.00,1000\na-2,unclear,,20\nb-1,_none_,0.5,3\n'


def test_tables_of_a_file_hold_its_cells_as_they_are_written(tmp_path):
    (tmp_path / "x.csv").write_text(MIXED)
    assert quote.table("file x.csv; all", [], tmp_path).splitlines() == [
        "| scan   | verdict                                      |   recall &#124; % |    n |",
        "|:-------|:---------------------------------------------|------------------:|-----:|",
        "| a-1    | &#60;b&#62;found&#60;/b&#62;, &#42;sure&#42; |            100.00 | 1000 |",
        "| a-2    | unclear                                      |                   |   20 |",
        "| b-1    | &#95;none&#95;                               |               0.5 |    3 |",
    ]
    some = quote.table("file x.csv; n, scan; a-*", [], tmp_path).splitlines()
    assert some == ["|    n | scan   |", "|-----:|:-------|", "| 1000 | a-1    |", "|   20 | a-2    |"]
    assert len(quote.table("file x.csv; n; b-1; a-2", [], tmp_path).splitlines()) == 4


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("file x.csv; scan, verdct", r"x\.csv: no column 'verdct'\. Did you mean 'verdict'\?"),
        ("file x.csv; ", "no column ''"),
        ("file x.csv; all; c-*", r"x\.csv: no row 'c-\*'"),
        ("file x.csv", "expected 'PATH; COLUMN, COLUMN'"),
        ("file absent.csv; all", "cannot read .*absent.csv as CSV"),
        ("file empty.csv; all", "empty.csv holds no row"),
        ("file none.csv; all", "none.csv holds no row"),
    ],
)
def test_a_table_that_a_file_cannot_give(tmp_path, expression, said):
    (tmp_path / "x.csv").write_text(MIXED)
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "none.csv").write_text("")
    with pytest.raises(BenchError, match=said):
        quote.table(expression, [], tmp_path)


# --- samples ----------------------------------------------------------------------------------------------

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(VALUES)
def test_the_mean_lies_between_min_and_max_and_nothing_differs_from_itself(values):
    sample = of_values(dict(enumerate(values)))
    low, mean, high = (float(shown(sample, Form(name=name, digits=6))) for name in ("min", "mean", "max"))
    assert low - 1e-5 <= mean <= high + 1e-5
    assert float(difference(sample, Form(), sample, Form()).partition(" ")[0]) == 0
