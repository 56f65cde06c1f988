"""A folder of records, and the site of it."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.boards.site import site, write

FIRST = Path(__file__).parents[2] / "fixtures" / "records" / "v1-first.json"
HOSTILE = "</td><script>window.taken = 1</script><img src=x onerror='window.taken=2'>\"'`{{7*7}}\u202e\x1b"
PAPER = f"""paper,table,dataset,attack,setting,note,defense,split,metric,value
Some paper,Table 2,scenes,htba,5 % poisoned,{HOSTILE[:30]},mine,clean,acc,70.5
Some paper,Table 2,scenes,htba,5 % poisoned,{HOSTILE[:30]},mine,poisoned,asr,12
Some paper,Table 2,scenes,htba,5 % poisoned,{HOSTILE[:30]},none,clean,acc,71
Some paper,Table 2,scenes,htba,5 % poisoned,{HOSTILE[:30]},none,poisoned,asr,88
"""


class Page(HTMLParser):
    """What is in a page: (tag, attributes) in order, the ids, the text, what scripts and styles hold."""

    def __init__(self, data):
        super().__init__()
        self.tags, self.text, self.raw, self._inside = [], "", {"script": [], "style": []}, ""
        self.feed(data.decode())
        self.close()
        self.ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in self.raw:
            self.raw[self._inside].append(data)
        else:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def page():
    return Page


@pytest.fixture(scope="session")
def make_record():
    """A record by defense, seed and numbers, from one that a run made."""
    original = json.loads(FIRST.read_text())

    def make(defense="poisoncam", seed=0, *, acc=80.0, asr=5.0, precision=90.0, status="measured", control=False):
        made = copy.deepcopy(original)
        made |= {"schema_version": 2, "status": status}
        made["run"] |= {"defense": defense, "seed": seed, "control": control}
        made["config"] |= {"seed": seed}
        made["metrics"]["defended"]["clean"]["acc"] = acc
        made["metrics"]["defended"]["poisoned"]["asr"] = asr
        made["metrics"]["detection"] |= {"precision": precision, "recall": 80.0 if precision else 0.0}
        return made

    return make


@pytest.fixture(scope="session")
def hostile(make_record):
    """A record sent in, each of whose texts attacks the page."""
    made = make_record(HOSTILE, status="submitted", acc=75.0, asr=50.0)
    made["submission"] = {"sha256": "a" * 64}
    made["config"]["defense"]["name"] = HOSTILE
    made["poison"]["targets"] = [HOSTILE]
    made["poison"]["triggers"][0] |= {"target": HOSTILE, HOSTILE: HOSTILE}
    made["facts"] = {HOSTILE: [HOSTILE, {"a": HOSTILE}], "root": "/home/somebody/x.txt"}
    made["hardware"] = {"cpu": HOSTILE}
    made["metrics"]["detection"][HOSTILE] = 1.5
    made["metrics"]["clean_removed"] = {HOSTILE: 3}
    return made


@pytest.fixture(scope="session")
def files(tmp_path_factory, make_record, hostile):
    """poisoncam and slow (two seeds each; slow removed nothing), a control, one sent in, and a paper's numbers."""
    folder = tmp_path_factory.mktemp("records")
    made = {
        "a": make_record(),
        "b": make_record(seed=1, acc=84.0, asr=9.0, precision=94.0),
        "c": make_record("slow", acc=60.0, asr=30.0, precision=None),
        "c2": make_record("slow", seed=1, acc=61.0, asr=31.0, precision=None),
        "d": make_record("oracle", acc=82.0, asr=100.0, precision=100.0, control=True),
        "e": hostile,
    }
    for name, record in made.items():
        (folder / f"{name}.json").write_text(json.dumps(record))
    (folder / "paper.csv").write_text(PAPER)
    return [*sorted(folder.glob("*.json")), folder / "paper.csv"]


@pytest.fixture(scope="session")
def pages(files):
    return site(files)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, pages):
    """The site on disk."""
    made = tmp_path_factory.mktemp("site")
    write(made, pages)
    return made
