"""`bench leaderboard`: tables, stale files, pages that are not written over."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from bench.boards.rows import UNDEFINED

RECORDS = Path(__file__).parents[1] / "fixtures" / "records"


def test_tables_and_whether_their_file_is_stale(smoke_run, bench, console, refused, copied, tmp_path):
    smoke_run("run")
    out = bench("leaderboard", "--store", copied)
    assert "\n## Drawn scenes, 160 images of 32 px; htba: one trigger on " in out
    assert "; preset smoke; " in out
    first = [line.split("|")[1:3] for line in out.splitlines() if line.startswith("| ")]
    cells = [[cell for cell in map(str.strip, pair) if cell not in ("rank", "1", UNDEFINED)] for pair in first]
    whole = ["defense", "poisoncam", "*controls*", "none"]
    names = [re.sub(r"\[(.*)\]\[p\d+\]", r"\1", next(filter(None, pair))) for pair in cells]  # links to papers
    assert names == whole + ["defense", "poisoncam"] * 3 + whole
    assert bench("leaderboard", "--store", copied, "--only", "preset smoke") == out
    assert "[r1]" not in out, "links are relative to a file"
    board = tmp_path / "board.md"
    whole = ("leaderboard", copied / "records", "--output", board)
    absent = f"bench: {board} is not there: the same command without --check writes it\n"
    assert console(*whole, "--check") == (1, "", absent)
    bench(*whole)
    (kept,) = (copied / "records").glob("*.json")
    assert f"[r1]: copied/records/{kept.name}\n" in board.read_text()
    bench(*whole, "--check")
    board.write_bytes(board.read_bytes().replace(b"\n", b"\r\n"))
    assert bench(*whole, "--check") == "", "a checkout may have other line ends"
    board.write_text(board.read_text() + "x")
    assert console(*whole, "--check") == (1, "", absent.replace("not there", "stale"))
    assert board.read_text().endswith("x"), "nothing is written"
    assert "name it with --output FILE" in refused("leaderboard", copied / "records", "--check")


def test_the_tables_of_single_attacks_in_a_file_of_their_own(bench, console, refused, tmp_path):
    page, folder = tmp_path / "board.md", tmp_path / "tables"
    whole = ("leaderboard", RECORDS / "v4-hit.json", "--output", page, "--details", folder)
    bench(*whole)
    (made,) = folder.iterdir()
    assert f"](tables/{made.name}#" in page.read_text()
    assert "<details>" in made.read_text()
    assert "<details>" not in page.read_text()
    assert "](../board.md)" in made.read_text()
    (link,) = re.findall(r"^\[r1\]: (.*)$", made.read_text(), re.MULTILINE)
    assert (folder / link).resolve() == (RECORDS / "v4-hit.json").resolve()
    bench(*whole, "--check")
    old = folder / "old.md"
    old.write_text("x")
    said = f"bench: {old}: no table is on this page any more; delete it\n"
    assert console(*whole, "--check") == (1, "", said)
    assert console(*whole)[2] == said
    old.unlink()
    made.write_text(made.read_text() + "x")
    assert console(*whole, "--check")[0] == 1
    for more in (
        (),
        ("--output", tmp_path / "other" / "board.md"),
        ("--output", folder),
        ("--output", page, "--format", "csv"),
    ):
        said = refused("leaderboard", RECORDS / "v4-hit.json", "--details", folder, *more)
        assert "--details is a folder beside the markdown file of --output FILE" in said
    assert "--details is a folder" in refused(*whole[:4], "--details", page)


def test_a_page_that_is_no_text_is_never_written_over(refused, tmp_path):
    page, records = tmp_path / "page.md", Path(__file__).parents[1] / "fixtures" / "records" / "v4-hit.json"
    page.write_bytes("gr\xf6\xdfe\n".encode("latin-1"))
    for more in ((), ("--check",)):
        said = refused("leaderboard", records, "--output", page, *more)
        assert "cannot be read as UTF-8 text, so it is not written over" in said
    assert page.read_bytes() == b"gr\xf6\xdfe\n"


def test_two_results_of_one_seed_are_refused_by_the_names_of_their_files(refused, tmp_path):
    found = json.loads((RECORDS / "v4-hit.json").read_text())
    (tmp_path / "one.json").write_text(json.dumps(found))
    found["metrics"]["defended"]["clean"]["acc"] = 1.0
    (tmp_path / "other.json").write_text(json.dumps(found))
    for form in ("markdown", "html"):
        said = refused("leaderboard", tmp_path, "--format", form, "--output", tmp_path / form)
        assert f"{tmp_path / 'one.json'} and {tmp_path / 'other.json'}" in said
        assert "two results of poisoncam, seed 0, would meet in one mean" in said


def test_compare(bench, refused, tmp_path):
    """Two seeds of two lines: recall is equal in every seed, precision 20 and 30 points apart: 25 +- 63.5."""
    for seed in (0, 1):
        for name, precision in (("mine", 90.0 + seed), ("poisoncam", 70.0 - 9 * seed)):
            found = json.loads((RECORDS / "v4-hit.json").read_text())
            found["run"] |= {"defense": name, "seed": seed}
            found["config"] |= {"seed": seed, "defense": {"name": name}}
            found["stages"]["threat_model"]["key"] = str(seed) * 64
            found["metrics"]["detection"] |= {"precision": precision}
            (tmp_path / f"{name}{seed}.json").write_text(json.dumps(found))
    rows = {row["metric"]: row for row in json.loads(bench("compare", "mine", "poisoncam", tmp_path, "--json"))}
    found = rows["precision"]
    assert [found[name] for name in ("a", "b", "mean_a", "mean_b", "difference")] == [
        "mine",
        "poisoncam",
        90.5,
        65.5,
        25,
    ]
    assert (found["lower"], found["upper"]) == (pytest.approx(-38.53, abs=0.01), pytest.approx(88.53, abs=0.01))
    assert (found["seeds"], found["comparisons"], found["verdict"]) == ([0, 1], 1, "not told apart")
    assert rows["recall"]["verdict"] == "equal in every seed"
    out = bench("compare", "mine", tmp_path)
    assert [line for line in out.splitlines() if line.startswith("A: ")] == [
        "A: mine, B: poisoncam",
        "A: mine, B: none",
    ]
    assert "-38.5 to +88.5" in out
    assert out.endswith("\nWhat the metrics mean: bench list metrics\n")
    assert "no line is called 'mien', and no file or folder. Did you mean 'mine'?" in refused(
        "compare", "mien", tmp_path
    )
    assert "mine is compared with itself" in refused("compare", "mine", "mine", tmp_path)
    assert "--preset smok: no table is of that preset. Did you mean 'smoke'?" in refused(
        "compare", "mine", tmp_path, "--preset", "smok"
    )


def test_a_leaderboard_of_nothing(refused, tmp_path):
    (tmp_path / "bad.json").write_text("{}")
    assert "there is no record yet" in refused("leaderboard", "--store", tmp_path)
    assert "no record file or folder" in refused("leaderboard", tmp_path / "absent.json")
    assert "bad.json" in refused("leaderboard", tmp_path / "bad.json")


def test_what_the_stages_stored_is_on_the_page_and_in_a_csv(smoke_run, bench, refused, copied, tmp_path):
    smoke_run("run")
    (record,) = (copied / "records").glob("*.json")
    target = tmp_path / "site"
    command = ("leaderboard", record, "--format", "html", "--output", target, "--reports", "--store", copied)
    bench(*command)
    (run,) = (target / "runs").glob("*.html")
    assert f'<a href="{run.stem}.csv">' in run.read_text()
    assert "<image href=" in run.read_text(), "the suspicious images are there"
    lines = list(csv.DictReader(run.with_suffix(".csv").read_text().splitlines()))
    made = json.loads(record.read_text())
    assert sum(line["poisoned"] == "1" for line in lines) == made["poison"]["count"]
    assert sum(line["kept"] == "0" for line in lines) == made["metrics"]["detection"]["removed"]
    assert len(lines) == made["dataset"]["counts"]["train"]
    assert {line["true_top"] == "" for line in lines if line["poisoned"] == "0"} == {True}
    assert {line["trigger"] for line in lines} == {"", "0"}
    assert bench(*command, "--check") == ""
    bench(*command[:-3])
    assert not run.with_suffix(".csv").exists(), "a site of the records alone has none"
    assert "are of a site" in refused("leaderboard", record, "--reports")
    assert "expected an address such as" in refused(*command[:-3], "--repository", "ftp://x")
