"""The site without a browser: its links, its numbers, and that no text of a record is more than text."""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re

import pytest

from bench.boards import read, tables
from bench.boards.rows import UNDEFINED
from bench.boards.site import site
from bench.boards.site.build import _index
from bench.errors import BenchError
from bench.records.record import fingerprint
from bench.report.controls import Beside
from bench.report.page import run_page

FIRST = "htba-scenes-laptop"


def html(pages):
    return {name: data for name, data in pages.items() if name.endswith(".html")}


def hashed(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def rows(page, anchor):
    """The texts of the cells of the row with that id."""
    found = re.search(rf'<tr id="{anchor}".*?</tr>', page.decode(), re.DOTALL)[0]
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", found, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", cell).replace("\u2248", "").strip() for cell in cells]


def test_every_link_leads_somewhere_and_the_index_links_to_every_page(pages, page):
    for name, data in html(pages).items():
        found = page(data)
        assert len(found.ids) == len(set(found.ids)), name
        for link in found.all("a"):
            path, _, anchor = link["href"].partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            assert target in pages, (name, link)
            assert not anchor or anchor in page(pages[target]).ids, (name, link)
    linked = {link["href"] for link in page(pages["index.html"]).all("a")}
    assert {*html(pages), "reported/paper.csv"} - {"index.html"} <= linked
    assert sum(name.startswith("runs/") for name in pages) == 2 * 6


def test_nothing_is_loaded_and_only_the_pages_own_style_and_script_are_allowed(pages, page):
    for name, data in html(pages).items():
        found = page(data)
        for tag, attributes in found.tags:
            assert tag not in ("img", "iframe", "object", "embed", "base", "audio", "video", "use"), name
            assert not [each for each in attributes if each.startswith("on") or each in ("style", "src", "srcset")]
            assert ":" not in attributes.get("href", "").replace("data:,", "")
        assert [link["href"] for link in found.all("link")] == ["data:,"]
        assert not re.search(r"url\(|@import", "".join(found.raw["style"]))
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
    plain = re.compile(r"index\.html|(runs|reported)/[A-Za-z0-9_+-]{1,180}\.(html|json|csv)")
    assert all(map(plain.fullmatch, pages))
    assert not [name for name, data in pages.items() if b"somebody" in data], "no page says where a file lies"
    assert [name for name, data in pages.items() if b"x.txt" in data]


def test_the_table_has_the_numbers_of_the_other_formats(pages, files):
    (table, _) = read(files)
    order = [line.defense for line in table.by_detection()]
    line = next(line for line in table.lines if line.defense == "poisoncam")
    cells = rows(pages["index.html"], f"{FIRST}-{order.index('poisoncam') + 1}")
    assert cells[:2] + cells[-2:] == ["1", "poisoncam", "measured", "2: 01"]
    assert cells[2:4] == [line.cell(name) for name in ("AUROC", "AP")]
    control = rows(pages["index.html"], f"{FIRST}-{order.index('oracle') + 1}")
    assert control[:3] == [UNDEFINED, "oracle", line.cell("AUROC").partition(" ")[0]]
    text = re.sub(r"\s*<[^>]*>\s*", "|", pages["index.html"].decode())
    assert re.search(r"\|Full runs\|+What the new encoders do\|", text)
    assert f"|{line.cell('ACC')}|" in text
    assert line.cell("ACC") == "82.0 ± 25.4"  # t of one degree of freedom is 12.7, times 2


def test_a_papers_numbers_are_a_table_of_their_own_and_undefined_cells_have_no_value_to_sort_by(pages):
    cells = rows(pages["index.html"], "htba-on-scenes-5-poisoned-as-the-some-paper-reports-it-1")
    assert cells == ["mine", "70.5", "12.0", "not known: source"]
    assert re.search(rf'<td class="number" data-sort="([^"]*)">{UNDEFINED}</td>', pages["index.html"].decode())[1] == ""


def cells_of(data, heading):
    """The texts of the row with that heading, and of the facts with those names."""
    found = re.search(
        rf"<(?:th scope=\"row\"|dt)>{re.escape(heading)}</(?:th|dt)>(.*?)(?:</tr>|</dd>)", data, re.DOTALL
    )
    return re.findall(r"<(?:td|dd)[^>]*>([^<]*)", found[1])


def test_the_page_of_a_run_tells_all_of_it(make_record):
    run = make_record(asr=12.5)
    run["metrics"]["clean_removed"] = {"ring": 2, "bar": 0, "dots": 1200, "halves": 2}
    run["metrics"]["detection"]["novelty"] = 4.25
    run["metrics"]["localisation"] = {"5": {"accuracy": 80.0, "hit": 62.5, "iou": None, "cr": 40.0}}
    data = run_page(run, Beside([run]), record_file="x.json").decode()
    assert cells_of(data, "clean images: classified rightly (ACC)") == ["92.2 %", "80.0 %", "80.0 %"]
    assert cells_of(data, "triggered images: taken for the target class (ASR)")[1:] == ["12.5 %", "12.5 %"]
    assert len(cells_of(data, "triggered images: taken for the target class (number of images)")) == 3
    assert cells_of(data, "top 5") == ["80.0 %", "62.5 %", "-", "40.0 %"]
    assert cells_of(data, run["run"]["defense"])[-1] == "4.25"
    assert ">novelty</th>" in data, "a metric of a newer version goes by its own name"
    lost = re.findall(r'<th scope="row">(\w+)</th><td class="number">([\d,]+)</td></tr>', data)
    assert lost == [("dots", "1,200"), ("ring", "2"), ("halves", "2")]
    facts = {"fingerprint": run["dataset"]["fingerprint"], "train.lr": f"{run['config']['train']['lr']:g}"}
    facts |= {"defense": run["stages"]["defense"]["key"], "outcome": f"fingerprint {fingerprint(run)}"}
    facts |= {"triggers.1.count": str(run["poison"]["triggers"][0]["count"])}
    assert {name: cells_of(data, name) for name in facts} == {name: [text] for name, text in facts.items()}
    for text in (run["git"]["hash"], f"torch {run['versions']['torch']}", f"root {run['seeds']['root']}"):
        assert text in data
    assert data.count("are not in the record; where the run") == 5


def test_a_record_too_long_for_a_page_is_cut(make_record):
    run = make_record() | {"facts": {f"n{number}": "x" * 5000 for number in range(1000)}}
    data = run_page(run, Beside(), record_file="x.json").decode()
    assert cells_of(data, "and 700 more") == ["see the record"]
    assert cells_of(data, "n0") == ["x" * 400 + " ..."]
    assert "<dt>n300</dt>" not in data


def test_the_record_lies_beside_its_page(pages):
    names = [name for name in pages if "slow" in name and name.endswith(".json")]
    assert sorted(json.loads(pages[name])["metrics"]["defended"]["clean"]["acc"] for name in names) == [60.0, 61.0]


def test_equal_records_give_equal_bytes_and_one_page_each_result_a_linked_one(pages, files, tmp_path, page):
    (tmp_path / "again.json").write_text(files[0].read_text())
    assert site([*files, tmp_path / "again.json"]) == pages
    later = json.loads(files[0].read_text()) | {"created": "2027-01-01T00:00:00+00:00"}
    (tmp_path / "later.json").write_text(json.dumps(later))
    made = site([files[0], tmp_path / "later.json"])
    linked = {link["href"] for link in page(made["index.html"]).all("a")}
    assert html(made).keys() - {"index.html"} <= linked
    assert len(html(made)) == 3


def test_reported_numbers_of_one_name_are_an_error(files, tmp_path):
    (tmp_path / "paper.csv").write_text(files[-1].read_text())
    with pytest.raises(BenchError, match=r"would have one name: reported/paper\.csv"):
        site([files[-1], tmp_path / "paper.csv"])


def test_the_first_page_says_what_it_is_of_and_leads_to_every_table(pages, page):
    found = page(pages["index.html"])
    assert "Drawn scenes, 2,000 images of 32 px; htba: one trigger on 90 % of 'lime dots'" in found.text
    assert "A small setting, 2,000 images of 32 px" in found.text
    assert "attack, trigger_sha256" in found.text.partition("Fingerprints and versions")[2]
    links = [link["href"] for link in found.all("a")]
    assert links[:4] == ["#submit", "#cite", "#words", f"#{FIRST}"]
    assert {"submit", "cite", "words", "words-rank"} <= set(found.ids)
    assert "Baselines" not in found.text, "there are none"
    assert "Controls: they see the truth" in found.text


def test_the_repository_is_linked_where_it_is_known(files, page):
    found = page(site(files[:1], "https://example.org/bench")["index.html"])
    assert found.all("a")[0]["href"] == "https://example.org/bench"
    assert "url = {https://example.org/bench}" in found.text


def test_a_plugin_links_to_its_page_and_somebody_elses_says_whose_it_is(make_record, page):
    """Nothing but http and https is a link, and no quotation mark ends one."""
    facts = {"kind": "defense", "author": "A. Author", "version": "1.2"}
    good = {
        "name": "mine",
        "paper": 'A "paper" <b>',
        "url": "https://x.org/a?b=1&c='\"><i>",
        "distribution": "bench-mine",
    }
    evil = {"name": "slow", "paper": "", "url": "javascript:alert(1)", "distribution": "ssl-backdoor-bench"}
    attack = {
        "kind": "attack",
        "name": "htba",
        "url": "http://y.org/",
        "paper": "Y",
        "distribution": "ssl-backdoor-bench",
    }
    records = [make_record("mine"), make_record("slow")]
    records[0]["plugins"] = [facts | good, attack]
    records[1]["plugins"] = [facts | evil]
    found = page(_index(tables(records), {}, ""))
    links = {link["href"]: link["title"] for link in found.all("a") if "title" in link}
    assert links == {"https://x.org/a?b=1&c=%27%22%3E%3Ci%3E": 'A "paper" <b>', "http://y.org/": "Y"}
    assert "bench-mine 1.2, by A. Author" in found.text
    assert "ssl-backdoor-bench 1.2" not in found.text
    assert not [link for link in found.all("a") if "javascript" in link["href"]]
