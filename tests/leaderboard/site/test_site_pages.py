"""The site without a browser: its links, its numbers, and that no text of a record is more than text."""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re

import pytest

from bench.errors import BenchError
from bench.leaderboard import read
from bench.leaderboard.rows import UNDEFINED
from bench.leaderboard.site import site
from bench.leaderboard.site.runs import run_values


def html(pages):
    return {name: data for name, data in pages.items() if name.endswith(".html")}


def hashed(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def rows(page, anchor):
    """The texts of the cells of the row with that id."""
    found = re.search(rf'<tr id="{anchor}".*?</tr>', page.decode(), re.DOTALL)[0]
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", found, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in cells]


def test_every_link_leads_somewhere(pages, page):
    for name, data in html(pages).items():
        found = page(data)
        assert len(found.ids) == len(set(found.ids)), name
        for link in found.all("a"):
            path, _, anchor = link["href"].partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            assert target in pages, (name, link)
            assert not anchor or anchor in page(pages[target]).ids, (name, link)


def test_the_index_links_to_every_page(pages, page):
    linked = {link["href"] for link in page(pages["index.html"]).all("a")}
    assert {name for name in html(pages) if name != "index.html"} <= linked
    assert sum(name.startswith("runs/") for name in pages) == 2 * 5
    assert "reported/paper.csv" in linked


def test_nothing_is_loaded_from_anywhere(pages, page):
    for name, data in html(pages).items():
        found = page(data)
        for tag, attributes in found.tags:
            assert tag not in ("img", "iframe", "object", "embed", "base", "audio", "video", "use"), name
            assert not [each for each in attributes if each.startswith("on") or each in ("style", "src", "srcset")]
            assert ":" not in attributes.get("href", "").replace("data:,", "")
        assert [link["href"] for link in found.all("link")] == ["data:,"]
        assert not re.search(r"url\(|@import", "".join(found.raw["style"]))


def test_only_the_pages_own_style_and_script_are_allowed(pages, page):
    for name, data in html(pages).items():
        found = page(data)
        policy = next(each["content"] for each in found.all("meta") if "http-equiv" in each)
        rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert rules["style-src"] == hashed("".join(found.raw["style"]))
        assert rules.get("script-src", "") == "".join(map(hashed, found.raw["script"]))
        assert len(found.raw["script"]) == (name == "index.html")
        assert "unsafe" not in policy


def test_hostile_texts_stay_texts(pages, page):
    (hostile,) = [name for name in html(pages) if "submitted" in page(pages[name]).text and name != "index.html"]
    for name in (hostile, "index.html"):
        assert "</td><script>window.taken = 1</script><img src=x onerror='window.taken=2'>" in page(pages[name]).text
        assert b"<script>window" not in pages[name]
        assert not any(mark in pages[name].decode() for mark in ("\u202e", "\x1b"))
        assert b"{{7*7}}" in pages[name]
    assert all(
        re.fullmatch(r"(index\.html|(runs|reported)/[A-Za-z0-9_+-]{1,180}\.(html|json|csv))", each) for each in pages
    )


def test_no_page_tells_a_folder(pages):
    assert not [name for name, data in pages.items() if b"somebody" in data]
    assert [name for name, data in pages.items() if b"x.txt" in data]


def test_the_table_has_the_numbers_of_the_other_formats(pages, files):
    (table, _) = read(files)
    names = [line.defense for line in table.lines]
    place = names.index("poisoncam")
    cells = rows(pages["index.html"], f"t1-{place + 1}")
    line = table.lines[place]
    assert cells[:2] + cells[-2:] == [str(place + 1), "poisoncam", "measured", "2: 01"]
    assert cells[2:6] == [line.cell(name) for name in ("ACC", "ASR", "ACC triggered", "ASR triggered")]
    assert (cells[2], cells[5]) == ("82.0 ± 2.8", "7.0 ± 2.8")
    assert "control" in rows(pages["index.html"], f"t1-{names.index('oracle') + 1}")[1]


def test_a_papers_numbers_are_a_table_of_their_own(pages):
    cells = rows(pages["index.html"], "t2-2")
    assert cells == ["2", "mine", "70.5", UNDEFINED, UNDEFINED, "12.0", "paper-reported", "not told: source"]


def test_undefined_cells_have_no_value_to_sort_by(pages):
    found = re.search(rf'<td class="number" data-sort="([^"]*)">{UNDEFINED}</td>', pages["index.html"].decode())
    assert found[1] == ""


def test_the_page_of_a_run_tells_all_of_it(make_record):
    run = make_record()
    values = run_values(run, "x.json")
    sheets = {sheet.title: sheet.rows for sheet in (*values["results"], *values["sheets"])}
    assert sheets["What the encoders do"][0] == ("clean images: classified rightly (ACC)", "92.20", "80.00")
    assert ("precision of the removal", "90.00") in sheets["What was removed"]
    assert dict(sheets["Run"])["git commit"].startswith(run["git"]["hash"])
    assert dict(sheets["Dataset"])["fingerprint"] == run["dataset"]["fingerprint"]
    assert dict(sheets["Versions"])["torch"] == run["versions"]["torch"]
    assert dict(sheets["Seeds"])["root"] == str(run["seeds"]["root"])
    assert {row[0] for row in sheets["Stages"]} == set(run["stages"])
    assert dict(sheets["Keys of the stages in the store"])["defense"] == run["stages"]["defense"]["key"]
    assert [float(row[1]) for row in sheets["Stages"]] == sorted((float(r[1]) for r in sheets["Stages"]), reverse=True)
    assert dict(sheets["Configuration: train"])["lr"] == str(run["config"]["train"]["lr"])


def test_the_page_tells_which_clean_images_were_lost_the_most_first(make_record):
    run = make_record()
    assert "Clean images removed" not in [sheet.title for sheet in run_values(run, "x.json")["results"]], "not known"
    run["metrics"]["clean_removed"] = {"ring": 2, "bar": 0, "dots": 1200, "halves": 2}
    (sheet,) = [each for each in run_values(run, "x.json")["results"] if each.title == "Clean images removed"]
    assert sheet.rows == (("dots", "1,200"), ("ring", "2"), ("halves", "2"))


def test_a_record_too_long_for_a_page_is_cut(make_record):
    run = make_record() | {"facts": {f"n{number}": "x" * 5000 for number in range(1000)}}
    (sheet,) = [each for each in run_values(run, "x.json")["sheets"] if each.title.startswith("What the defense")]
    assert len(sheet.rows) == 301
    assert sheet.rows[-1] == ("and 700 more", "see the record")
    assert len(sheet.rows[0][1]) < 410


def test_the_record_lies_beside_its_page(pages):
    (name,) = [name for name in pages if "slow" in name and name.endswith(".json")]
    assert json.loads(pages[name])["metrics"]["defended"]["clean"]["acc"] == 60.0


def test_equal_records_give_equal_bytes_and_one_page(pages, files, tmp_path):
    (tmp_path / "again.json").write_text(files[0].read_text())
    assert site(files) == pages
    assert site([*files, tmp_path / "again.json"]).keys() == pages.keys()


def test_a_run_whose_result_another_has_is_still_linked(files, tmp_path, page):
    later = json.loads(files[0].read_text()) | {"created": "2027-01-01T00:00:00+00:00"}
    (tmp_path / "later.json").write_text(json.dumps(later))
    made = site([files[0], tmp_path / "later.json"])
    linked = {link["href"] for link in page(made["index.html"]).all("a")}
    assert {name for name in html(made) if name != "index.html"} <= linked
    assert len(html(made)) == 3


def test_reported_numbers_of_one_name_are_an_error(files, tmp_path):
    (tmp_path / "paper.csv").write_text(files[-1].read_text())
    with pytest.raises(BenchError, match=r"would have one name: reported/paper\.csv"):
        site([files[-1], tmp_path / "paper.csv"])
