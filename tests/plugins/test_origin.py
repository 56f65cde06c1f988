"""Where a plugin comes from, as the record says it."""

from __future__ import annotations

from email.message import Message
from types import SimpleNamespace

import pytest

from bench.plugins.manager import Plugins
from bench.plugins.origin import _author, origin
from bench.plugins.registry import KINDS, class_problem


def test_of_a_built_in_one():
    found = origin("defense", Plugins.load().make("defense", "poisoncam"))
    assert (found["kind"], found["name"], found["distribution"]) == ("defense", "poisoncam", "ssl-backdoor-bench")
    assert found["url"] == "https://arxiv.org/abs/2312.07955"


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ([("Author", "Ann Lee, Bo Li")], "Ann Lee, Bo Li"),
        ([("Author-email", '"Lee, Ann" <ann@x.org>, Bo Li <bo@x.org>')], "Lee, Ann, Bo Li"),
        ([("Author", "Ann Lee"), ("Author-email", "Ann Lee <ann@x.org>, bo@x.org")], "Ann Lee"),
        ([("Author", "ann@x.org")], ""),
        ([], ""),
    ],
)
def test_authors_are_named_without_their_addresses(headers, names):
    about = Message()
    for header in headers:
        about.add_header(*header)
    assert _author(SimpleNamespace(metadata=about)) == names


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("paper", 3, "its paper is 3, expected a text"),
        ("url", "javascript:alert(1)", "its url is 'javascript:alert(1)', expected one that begins with https://"),
        ("url", None, "its url is None"),
        ("url", 'https://x.org/"><script>', "without spaces"),
    ],
)
def test_what_pages_could_not_link_to_is_refused(monkeypatch, attribute, value, said):
    cls = Plugins.load().get("defense", "colour")
    assert class_problem(cls, KINDS["defense"].bases) is None
    monkeypatch.setattr(cls, attribute, value)
    assert said in class_problem(cls, KINDS["defense"].bases)


def test_no_key_knows_of_it(monkeypatch):
    made = Plugins.load().make("attack", "htba")
    before = made.identity()
    monkeypatch.setattr(type(made), "paper", "Somebody else, 2030")
    assert made.identity() == before
    assert "url" not in before
