"""What every page shares."""

from __future__ import annotations

import base64
import io
import re

import jinja2
import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.report.html import data_uri, environment, heated, render


def test_everything_is_escaped_and_misspelt_names_are_errors():
    made = environment()
    assert made.from_string("{{ -0.004 | two }} {{ 1234 | thousands }}").render() == "0.00 1,234"
    assert made.from_string("<p>{{ name }}</p>").render(name="<script>'\"&") == "<p>&lt;script&gt;&#39;&#34;&amp;</p>"
    with pytest.raises(jinja2.UndefinedError):
        made.from_string("{{ nmae }}").render(name="x")


def test_the_base_needs_no_network_and_knows_dark_mode_phones_and_paper():
    text = render("base.html").decode()
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    assert "default-src 'none'" in text
    for needed in ("prefers-color-scheme: dark", "width=device-width", "@media print", 'lang="en"'):
        assert needed in text


def test_names_that_are_not_utf8_do_not_break_a_page(monkeypatch):
    monkeypatch.setattr("bench.report.html.environment", lambda: jinja2.Environment(
        loader=jinja2.DictLoader({"t": "{{ name }}"}), autoescape=True))  # fmt: skip
    assert render("t", name="caf\udce9") == b"caf\\udce9"


def test_a_picture_comes_back_and_only_colour_pictures_are_taken():
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    kind, _, data = data_uri(pixels).partition(",")
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels)
    with pytest.raises(BenchError, match="expected uint8"):
        data_uri(np.zeros((3, 4, 4), np.float32))


def test_a_map_over_a_picture_is_darkest_where_it_is_least():
    values = np.array([[0.0, 1.0], [0.5, 0.25]], np.float32)
    found = heated(np.full((2, 2, 3), 100, np.uint8), values)
    light = found.sum(-1)
    assert light[0, 0] < light[1, 1] < light[1, 0] < light[0, 1]
    np.testing.assert_array_equal(found[0, 0], [25, 25, 28])  # 0.25 * 100 + 0.75 * inferno's first colour (0, 0, 4)
    flat = heated(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), np.float32))
    assert (flat < 4).all()
