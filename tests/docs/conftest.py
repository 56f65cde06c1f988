"""The scripts of docs/tools as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "docs" / "tools"


@pytest.fixture
def script(monkeypatch):
    """script("render") -> the module docs/tools/render.py, a new one at each call."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"script_{name}", TOOLS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load
