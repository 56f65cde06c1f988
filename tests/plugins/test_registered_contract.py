"""Every registered plugin keeps the contract of its kind."""

import pytest

from bench.plugins.checks import contract, run_checks, toy_instance
from bench.plugins.manager import Plugins
from bench.plugins.options import REQUIRED, options

PLUGINS = Plugins.load()
# For a class that names no toy_options of its own.
QUICK = {"poisoncam": {"clusters": 8, "masks": 8, "members": 1, "iterations": 10}}


def instance(entry):
    if hasattr(entry.cls, "toy_options"):
        return toy_instance(entry.cls)
    return PLUGINS.make(entry.kind, entry.name, QUICK.get(entry.name))


ACTIVE = [instance(entry) for kind in ("attack", "defense") for entry in PLUGINS.entries(kind)]
PASSIVE = [entry for kind in ("dataset", "ssl") for entry in PLUGINS.entries(kind)]


@contract(*ACTIVE)
def test_registered(): ...


@pytest.mark.parametrize("entry", PASSIVE, ids=lambda entry: entry.name)
def test_registered_datasets_and_methods(entry):
    given = {option.name: "somewhere" for option in options(entry.cls) if option.default is REQUIRED}
    for result in run_checks(entry.kind, entry.cls(**given)):
        assert result.ok, f"{result.name}: {result.why}. To mend: {result.fix}"


def test_nothing_registered_is_broken():
    assert [str(broken) for broken in PLUGINS.broken] == []


def test_every_option_is_explained():
    entries = [entry for kind in ("attack", "defense", "dataset", "ssl") for entry in PLUGINS.entries(kind)]
    unexplained = [f"{entry.name}.{o.name}" for entry in entries for o in options(entry.cls) if not o.doc]
    assert unexplained == []
