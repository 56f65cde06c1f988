"""No folder of somebody's machine is sent to others."""

from __future__ import annotations

import pytest

from bench.records.redact import without_paths


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("dataset.root=/home/me/my data", "dataset.root=my data"),
        ('dataset.root="/home/me/data/"', 'dataset.root="data"'),
        ("dataset.root=data/mine", "dataset.root=mine"),
        ("attack.trigger=~/patches/7.png", "attack.trigger=7.png"),
        ("attack.picture=pictures/7.png", "attack.picture=7.png"),
        ("dataset.masks=data/m", "dataset.masks=m"),
        ("C:\\Users\\me\\x.toml", "x.toml"),
        ("\\\\server\\share\\x.toml", "x.toml"),
        ("file:///home/me/x", "x"),
        ("../x/y.toml", "y.toml"),
        ('["/a/b", "/c/d e"]', '["b", "d e"]'),
        ("read from /home/me/x.npy", "read from x.npy"),
        ("cache:/home/me/x", "cache:x"),
        ("/home/me/größe.png", "größe.png"),
        *[
            (text, text)
            for text in ("resnet18", "hf-hub:timm/vit", "3 / 4", "a/b", "https://x.org/a", "attack.rate=0.5")
        ],
        *[(other, other) for other in ("", 3, None, True, 0.5)],
    ],
)
def test_of_a_path_its_last_part_is_left_and_what_is_none_stays(value, left):
    assert without_paths(value) == left


def test_everywhere_in_a_record_and_relative_ones_by_the_name_of_their_option():
    record = {
        "run": {"asked": {"preset": "presets/my.toml", "settings": ["dataset.root=/srv/x"]}},
        "config": {"dataset": {"root": "photos/2024", "classes": ["a/b"]}, "train": {"lr": 0.1}},
    }
    assert without_paths(record) == {
        "run": {"asked": {"preset": "my.toml", "settings": ["dataset.root=x"]}},
        "config": {"dataset": {"root": "2024", "classes": ["a/b"]}, "train": {"lr": 0.1}},
    }
    assert without_paths(without_paths(record)) == without_paths(record)
