"""A script: runs the lines of a shell session, given as JSON, in one process, and prints as JSON what came of each.

`bench`, `pytest`, `python FILE`, `cd` and `pip install` (without a network) are played; importing torch once is most of
the saving.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shlex
import site
import subprocess
import sys
import sysconfig


def bench(*arguments):
    from bench.cli.main import app, guarded

    return guarded(lambda: app(list(arguments), standalone_mode=False))


def pip(install, *arguments):
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run([sys.executable, "-m", "pip", install, *offline, *arguments], capture_output=True, text=True)
    sys.stdout.write(done.stdout + done.stderr)
    site.addsitedir(sysconfig.get_path("purelib"))  # as the next process would
    importlib.invalidate_caches()
    return done.returncode


def run_pytest(*arguments):
    import pytest

    return int(pytest.main(["-p", "no:cacheprovider", *arguments]))


def python(file):
    return subprocess.run([sys.executable, file]).returncode


def cd(folder):
    os.chdir(folder)
    return 0


def play(line):
    command, *arguments = shlex.split(line, comments=True)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = {"bench": bench, "pip": pip, "pytest": run_pytest, "python": python, "cd": cd}[command](*arguments)
    return {"line": line, "code": code, "said": said.getvalue()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps([play(line) for line in json.loads(sys.argv[1])]))
