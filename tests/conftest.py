"""For all tests: no user's folders, one thread, and a guard over the global generators."""

from __future__ import annotations

import os

# Before torch and faiss are loaded, here and in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import importlib.util
import random
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest


def pytest_addoption(parser):
    """Of the standing campaign (tests/campaign)."""
    for name, default in (("kills", 2), ("inputs", 40), ("seed", 0)):
        parser.addoption(f"--campaign-{name}", type=int, default=default)


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory):
    """Caches and stores of the tests are their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BENCH_CACHE", "BENCH_STORE"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture
def global_rng():
    """A test that asks for this fails if it moves a global generator."""
    import torch

    def state():
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - what must not be touched
        return torch.random.get_rng_state().tolist(), random.getstate(), (kind, keys.tolist(), *rest)

    before = state()
    yield
    assert state() == before


@dataclass(frozen=True)
class Workshop:
    """Pipelines of the preset `smoke` with changes. Its store holds that preset's run and stays as it is."""

    root: Path

    def pipeline(self, *settings, store=None, seed=None, until="end", **choices):
        """`settings` as for --set; choices such as defense="none"."""
        from bench.config.config import load_config
        from bench.pipeline.pipeline import Pipeline
        from bench.pipeline.stage import Machine
        from bench.plugins.manager import Plugins
        from bench.store import Store

        config = load_config(Plugins.load(), "smoke", choices=choices, settings=settings, seed=seed, until=until)
        machine = Machine(accelerator="cpu")
        return Pipeline(config, config.dataset.load(), Store(store or self.root), machine)


@dataclass
class Ear:
    """Remembers what it is notified of: ("started", title, cached), ("progress", title, what, done, total) ..."""

    heard: list[tuple] = field(default_factory=list)

    def __call__(self, event, *, stage, key, title, **facts):
        if event != "stage_measured":
            self.heard.append((event.removeprefix("stage_"), title, *facts.values()))

    @property
    def made(self):
        """The titles of the stages that were not there."""
        return [event[1] for event in self.heard if event[0] == "started" and not event[2]]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """See Workshop."""
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="session")
def smoke(workshop):
    """The preset `smoke`, run once for all tests: (pipeline, the Ear that heard it). Read only."""
    from bench.pipeline.runner import make_stages

    pipeline, ear = workshop.pipeline(), Ear()
    make_stages(pipeline, ear)
    return pipeline, ear


@pytest.fixture
def copied(smoke, tmp_path):
    """A copy of the store of `smoke`, to write into."""
    return Path(shutil.copytree(smoke[0].store.root, tmp_path / "copied"))


@pytest.fixture
def ear():
    """See Ear."""
    return Ear()


@pytest.fixture
def session(copied, tmp_path):
    """session([line, ...], folder) -> what came of each line of a shell, in a fresh virtual environment that sees the
    packages of this one; the store is a copy of that of `smoke`."""
    import json
    import site
    import subprocess
    import venv

    venv.create(tmp_path / "fresh", with_pip=False, symlinks=True)
    python = next((tmp_path / "fresh").glob("*/python"))
    folders = [each for each in site.getsitepackages() if Path(each).is_dir()]
    packages = next((tmp_path / "fresh").glob("lib/*/site-packages"))
    lines = [f"import site; site.addsitedir({each!r})" for each in folders]  # with what is installed editable there
    (packages / "outer.pth").write_text("\n".join(lines) + "\n")

    def run(lines, folder):
        script = Path(__file__).with_name("session.py")
        environment = {**os.environ, "BENCH_STORE": str(copied), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [python, script, json.dumps(lines)], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def console(monkeypatch, capsys):
    """console(*arguments) -> (exit code, standard output, standard error) of the console script; no line is folded."""
    from rich.console import Console

    from bench.cli import common, main as cli

    monkeypatch.setattr(common, "out", Console(width=300))
    monkeypatch.setattr(common, "log_out", Console(width=300, stderr=True))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def bench(console):
    """bench(*arguments) -> what it prints; it succeeds, with nothing but `errors` on standard error."""

    def run(*arguments, errors=""):
        code, out, err = console(*arguments)
        assert (code, err.strip()) == (0, errors)
        return out

    return run


@pytest.fixture
def refused(console):
    """refused(*arguments) -> the message of a command that ends with code 2, without a traceback, and prints nothing
    else; `midway`: it may have printed what it did until then."""

    def run(*arguments, midway=False):
        code, out, err = console(*arguments)
        assert (code, err[:7], "Traceback" in out + err) == (2, "bench: ", False)
        assert midway or not out
        return err

    return run


@pytest.fixture(scope="session")
def plain_search():
    """The class PlainSearch of tests/plain_search.py."""
    found = importlib.util.spec_from_file_location("plain_search", Path(__file__).with_name("plain_search.py"))
    module = importlib.util.module_from_spec(found)
    sys.modules["plain_search"] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module.PlainSearch
