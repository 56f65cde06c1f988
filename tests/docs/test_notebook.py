"""docs/notebook.ipynb can be executed again, and says nothing of the machine that it was executed on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.fixture
def notebook():
    return pytest.importorskip("nbformat").read(FILE, as_version=4)


def test_it_is_small_and_holds_no_path(notebook):
    assert FILE.stat().st_size < 200_000
    texts = [str(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [text for text in texts if re.search(r"(?<![\w.<])/(home|root|tmp|usr|work|Users)/", text)] == []
    assert all(cell.outputs for cell in notebook.cells[2:] if cell.cell_type == "code" and "class " not in cell.source)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of other people's packages
def test_it_runs(notebook, tmp_path, monkeypatch):
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("BENCH_STORE", str(tmp_path))
    committed = [len(cell.get("outputs", ())) for cell in notebook.cells]
    client.NotebookClient(notebook, timeout=250, kernel_name="python3").execute()
    shown = [
        [output for output in cell.get("outputs", ()) if output.get("name") != "stderr"] for cell in notebook.cells
    ]
    assert list(map(len, shown)) == committed
    (picture,) = [output for outputs in shown for output in outputs if "image/png" in output.get("data", ())]
    assert picture.data["image/png"]
