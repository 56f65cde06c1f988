"""`bench leaderboard` on a page with numbers in its sentences."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.cli import main as cli

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "leaderboards" / "records"
FIRST = ROOT / "tests" / "fixtures" / "records" / "v1-first.json"
PAGE = """# Mine

The ASR is <!-- n: laptop; poisoncam; ASR triggered -->?<!-- /n --> %, found
is <!-- n: file a.json; recall -->9.0<!-- /n --> of it. `<!-- n: no mark -->`

<!-- table: laptop; poisoncam; ACC -->
<!-- /table -->
"""


@pytest.fixture
def command(tmp_path, capsys):
    """command(page text, *arguments) -> exit code, what it says, the page afterwards."""
    page = tmp_path / "page.md"
    (tmp_path / "a.json").write_text('{"recall": 99.5}')

    def run(text, *arguments, records=FIRST):
        page.write_text(text, encoding="utf-8")
        asked = ["leaderboard", str(records), "--output", str(page), *arguments]
        code = cli.guarded(lambda: cli.app(asked, standalone_mode=False))
        return code, capsys.readouterr().err.replace(str(page), "PAGE"), page.read_text(encoding="utf-8")

    return run


def test_numbers_are_filled_in_and_all_else_is_kept(command):
    record = json.loads(FIRST.read_text())["metrics"]["defended"]
    asr, acc = record["poisoned"]["asr"], record["clean"]["acc"]
    code, said, page = command(PAGE)
    assert (code, said) == (0, "")
    table = f"\n\n| defense   |   ACC |\n|:----------|------:|\n| poisoncam |  {acc:.1f} |\n\n"
    expected = PAGE.replace("?", f"{asr:.1f}").replace("9.0", "99.5")
    assert page == expected.replace("ACC -->\n", f"ACC -->{table}")
    assert command(page, "--check") == (0, "", page)
    assert command(page.replace("99.5", "99.5\n"), "--check")[0] == 2, "a mark at the start of a line"
    assert command(page.replace("ASR is <", "ASR\nis <"), "--check")[0] == 0
    assert command(page.replace("\n", "\r\n"), "--check")[0] == 0


def test_check_names_each_stale_number(command):
    _, _, page = command(PAGE)
    code, said, after = command(page.replace("99.5", "98.5").replace("| poisoncam |", "| poisoncan |"), "--check")
    assert code == 1
    assert "98.5" in after, "nothing is written"
    first, second, last = said.splitlines()
    assert first == "bench: PAGE, line 4: '98.5' should be '99.5' (file a.json; recall)"
    assert second.startswith("bench: PAGE, line 6: the table is stale, it should have: | poisoncam |")
    assert last == "bench: PAGE is stale: the same command without --check writes it"


def test_a_table_of_a_file(command, tmp_path):
    (tmp_path / "b.csv").write_text("scan,recall\nfirst,99.50\n")
    page = "# Mine\n\n<!-- table: file b.csv; all -->\n<!-- /table -->\n"
    _, _, filled = command(page)
    assert "| first  |    99.50 |" in filled
    assert command(filled, "--check") == (0, "", filled)
    (tmp_path / "b.csv").write_text("scan,recall\nfirst,98.50\n")
    code, said, _ = command(filled, "--check")
    assert (code, said.count("PAGE, line 3: the table is stale, it should have: | first  |    98.50 |")) == (1, 1)


def test_a_block_and_numbers_on_one_page(command):
    """--only is of the block; a number may come from any table."""
    page = PAGE.replace("laptop;", "laptop target 9;")
    page += "\n<!-- leaderboard: begin -->\n<!-- leaderboard: end -->\nend\n"
    cited = page.replace("# Mine", "# The paper: <!-- n: stl10; poisoncam; ACC -->?<!-- /n -->")
    code, _, filled = command(cited, "--only", "target 9", records=RECORDS)
    assert code == 0
    assert re.search(r"# The paper: <!-- n: stl10; poisoncam; ACC -->\d+\.\d<!-- /n -->\n", filled)
    assert filled.count("\n## htba ") == 1
    assert filled.endswith("<!-- leaderboard: end -->\nend\n")
    assert command(filled, "--only", "target 9", "--check", records=RECORDS)[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ASR triggered", "ASR trigered", "PAGE, line 3: 'laptop; poisoncam; ASR trigered': no column 'ASR trigered'"),
        ("a.json", "b.json", "PAGE, line 4: 'file b.json; recall': cannot read"),
        ("<!-- /table -->", "", "PAGE, line 6: <!-- table: laptop; poisoncam; ACC --> is not closed"),
    ],
)
def test_a_mark_that_cannot_be_filled_in_changes_nothing(command, old, new, said):
    broken = PAGE.replace(old, new)
    code, err, after = command(broken)
    assert (code, after) == (2, broken)
    assert said in err.replace("\n", " ")
    assert command(broken, "--check")[0] == 2


def test_the_example_of_the_documentation(command, tmp_path):
    text = (ROOT / "docs" / "pages.md").read_text(encoding="utf-8")
    example = re.search(r"^```markdown\n(.*?)^```$", text, re.S | re.M)[1]
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "scan.json").write_text('{"found": {"auroc": 99.876}}')
    code, said, page = command(example, records=RECORDS)
    assert (code, said) == (0, "")
    plain = re.sub(r"<!--.*?-->", "", page, flags=re.S)
    assert re.match(
        r"PoisonCAM takes the ASR from [\d.]+ ± [\d.]+ to\nabout \d+ %, the searches differ\n"
        r"by -?[\d.]+ ± [\d.]+ in IoU, and a network\nof 0.3 million parameters has an AUROC\nof 99.88.\n",
        plain,
    )
    assert "| poisoncam |" in plain
    assert command(page, "--check", records=RECORDS)[0] == 0
    for line in re.findall(r"^bench leaderboard.*$", text, re.M):
        assert line.split("#")[0].split()[2:5] == ["leaderboards/records", "--output", "page.md"]


def test_a_reader_of_the_documentation_is_told_what_exists():
    from bench.leaderboard.sample import FORMS

    text = (ROOT / "docs" / "pages.md").read_text(encoding="utf-8")
    assert all(f"`{form}`" in text for form in FORMS)


def test_a_page_without_a_place_is_not_written_over(command):
    code, said, page = command("# Mine\n\nno marks\n")
    assert (code, page) == (2, "# Mine\n\nno marks\n")
    assert "PAGE is a page of somebody's" in said
    assert "<!-- leaderboard: begin -->" in said
    assert command("# Mine\n", "--check")[0] == 1
    code, _, first = command("")
    assert first.startswith("## htba on scenes, preset laptop\n")
    assert (code, command(first)[2]) == (0, first), "an older leaderboard is replaced"
