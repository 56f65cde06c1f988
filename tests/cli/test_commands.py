"""What the commands print and write."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from bench.cli import common, main as cli
from bench.cli.store import size
from bench.errors import BenchError
from bench.records import record
from bench.store import Store, check_can_write


@pytest.fixture
def bench(monkeypatch, capsys):
    """bench(*arguments) -> what it prints, wide enough that no line is folded; a BenchError goes through."""
    monkeypatch.setattr(common, "out", Console(width=250))

    def run(*arguments):
        cli.app([str(each) for each in arguments], standalone_mode=False)
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return run


@pytest.fixture
def smoke_run(bench, copied):
    """`bench COMMAND --preset smoke`, changed, in a store where its stages lie."""
    return lambda command, *arguments: bench(command, "--preset", "smoke", "--store", copied, *arguments)


@pytest.fixture
def records(copied):
    """records() -> the record files in that store."""
    return lambda: sorted((copied / "records").glob("*.json"))


def rows(table):
    """The cells of a printed table, without its heading."""
    return [[cell.strip() for cell in line.split("│")] for line in table.splitlines() if "│" in line]


def test_run_prints_the_table_and_keeps_the_record(smoke_run, records, tmp_path):
    out = smoke_run("run", "--record", tmp_path / "mine" / "r.json")
    assert out.count("(from the store)") == 6
    assert "classified rightly (ACC)" in out
    assert "poisoncam removed" in out
    assert out.endswith(f"Record: {tmp_path / 'mine' / 'r.json'}\n")
    (kept,) = records()
    assert kept.name.startswith("scenes-htba-poisoncam-seed0-")
    one, other = record.load(tmp_path / "mine" / "r.json"), record.load(kept)
    assert record.fingerprint({**one, "git": None}) == record.fingerprint({**other, "git": None})
    shown = rows(out)
    assert shown[0][1] == f"{one['metrics']['none']['clean']['acc']:.1f} %"
    assert shown[3][2] == f"{one['metrics']['defended']['poisoned']['asr']:.1f} %"


def test_a_run_tells_tensorboard(smoke_run, tmp_path):
    """All comes from the store: there are the configuration and the metrics, and no curves."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    smoke_run("run", "--tensorboard", tmp_path / "logs", "--record", tmp_path / "r.json")
    events = EventAccumulator(str(tmp_path / "logs" / "poisoncam-seed0"))
    events.Reload()
    (point,) = events.Scalars("metrics/defended/clean/acc")
    assert point.value == pytest.approx(record.load(tmp_path / "r.json")["metrics"]["defended"]["clean"]["acc"])
    assert events.Tags()["tensors"] == ["config/text_summary"]
    assert not [tag for tag in events.Tags()["scalars"] if not tag.startswith("metrics/")]


def test_runs_that_measure_otherwise_keep_records_of_their_own(smoke_run, records):
    for epochs in (2, 3):
        smoke_run("run", "--set", f"probe.epochs={epochs}", "--defense", "none")
    assert len(records()) == 2


def test_running_again_leaves_the_first_record(smoke_run, records, monkeypatch):
    monkeypatch.setattr(record, "git_state", lambda: None)  # somebody may commit meanwhile
    smoke_run("run")
    (kept,) = records()
    before = kept.stat().st_mtime_ns
    smoke_run("run")
    assert [path.stat().st_mtime_ns for path in records()] == [before]


def test_plan_of_a_finished_run(smoke_run):
    out = smoke_run("plan")
    assert [row[1] for row in rows(out)] == ["yes"] * 6
    assert out.endswith("Everything is in the store: nothing will be computed.\n")


def test_plan_of_another_seed(smoke_run):
    out = smoke_run("plan", "--seed", "3")
    assert [row[1] for row in rows(out)] == ["no"] * 6
    assert rows(out)[1][3] == "an earlier stage of the same kind"
    assert "To do: 6 of 6 stages, about" in out


def test_list_shows_every_kind_with_origin_and_options(bench):
    out = bench("list")
    for heading in ("attacks", "defenses", "datasets", "SSL methods"):
        assert f"\n{heading}\n" in out
    for line in ("  htba  ", "  none  ", "  poisoncam  ", "  scenes  ", "  folder  ", "  cifar10  ", "  moco_v3  "):
        assert line in out
    assert "(ssl-backdoor-bench 0.1.0)" in out
    assert "      rate = 0.5  poisoned share of the TARGET class, in (0, 1]" in out
    assert "      temperature = 0.2  temperature of InfoNCE" in out


def test_list_of_one_kind(bench):
    out = bench("list", "defense")
    assert "poisoncam" in out
    assert "htba" not in out
    with pytest.raises(BenchError, match=r"unknown kind 'defence'\. Did you mean 'defense'\?"):
        bench("list", "defence")


def test_broken_plugins_are_told_of(monkeypatch, capsys):
    from bench.plugins.manager import Plugins

    class Nothing:
        """It implements no hook."""

    broken = Plugins.load([Nothing()])
    monkeypatch.setattr(Plugins, "load", classmethod(lambda cls, extra: broken))
    cli.app(["list"], standalone_mode=False)
    assert "cannot be used: Nothing" in capsys.readouterr().err.replace("\n", " ")


def test_presets(bench):
    assert "  smoke  Seconds: every stage at its smallest" in bench("list", "presets")


def test_leaderboard(smoke_run, bench, copied, tmp_path):
    smoke_run("run")
    out = bench("leaderboard", "--store", copied)
    assert "## htba on scenes, preset smoke" in out
    named = [line.split("|")[1].split()[0] for line in out.splitlines() if line.startswith("| ")]
    assert named == ["defense", "none", "poisoncam", "defense", "poisoncam"]
    written = tmp_path / "board.md"
    bench("leaderboard", copied / "records", "-o", written)
    (kept,) = (copied / "records").glob("*.json")
    assert f"[r1]: copied/records/{kept.name}\n" in written.read_text()
    assert "[r1]" not in out, "links are relative to a file"


def test_check_tells_a_stale_leaderboard_by_its_exit_code(smoke_run, bench, copied, tmp_path, capsys):
    smoke_run("run")
    board = tmp_path / "board.md"
    whole = ["leaderboard", str(copied / "records"), "--output", str(board)]

    def check():
        code = cli.guarded(lambda: cli.app([*whole, "--check"], standalone_mode=False))
        said = capsys.readouterr()
        assert said.out == ""
        return code, said.err.replace("\n", "")

    code, said = check()
    assert code == 1
    assert said == f"bench: {board} is not there: the same command without --check writes it"
    bench(*whole)
    assert check() == (0, "")
    board.write_bytes(board.read_bytes().replace(b"\n", b"\r\n"))
    assert check() == (0, ""), "a checkout may have other line ends"
    board.write_text(board.read_text() + "x")
    code, said = check()
    assert (code, f"bench: {board} is stale" in said) == (1, True)
    assert board.read_text().endswith("x"), "nothing is written"
    with pytest.raises(BenchError, match="name it with --output FILE"):
        bench("leaderboard", copied / "records", "--check")


def test_a_page_that_is_no_text_is_stale_and_never_written_over(bench, tmp_path, capsys):
    page, records = tmp_path / "page.md", Path(__file__).parents[1] / "fixtures" / "records"
    page.write_bytes("gr\xf6\xdfe\n".encode("latin-1"))
    asked = ["leaderboard", str(records), "--output", str(page)]
    assert cli.guarded(lambda: cli.app([*asked, "--check"], standalone_mode=False)) == 1
    assert f"{page} is stale" in capsys.readouterr().err.replace("\n", "")
    with pytest.raises(BenchError, match="cannot be read as UTF-8 text, so it is not written over"):
        bench(*asked)
    assert page.read_bytes() == b"gr\xf6\xdfe\n"


def test_a_leaderboard_of_nothing(bench, tmp_path):
    with pytest.raises(BenchError, match="there is no record yet"):
        bench("leaderboard", "--store", tmp_path)
    with pytest.raises(BenchError, match="no record file or folder"):
        bench("leaderboard", tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BenchError, match=r"bad\.json"):
        bench("leaderboard", tmp_path / "bad.json")


@pytest.fixture
def store(tmp_path):
    """A finished stage of 2,000 bytes and an unfinished one."""
    made = Store(tmp_path / "store")
    made.make("probe", "a" * 64, lambda making: (making.dir / "x").write_bytes(b"x" * 2000))

    def stop(making):
        (making.scratch / "checkpoint").write_bytes(b"")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        made.make("pretrain", "b" * 64, stop)
    return made


def test_store_list(bench, store):
    out = bench("store", "list", "--store", store.root)
    found = [[row[0], row[1], row[-1]] for row in rows(out)]
    assert found == [["pretrain", "b" * 12, "unfinished"], ["probe", "a" * 12, ""]]
    assert "2 KiB" in out
    assert f"2 stages, 2 KiB in {store.root}" in out


def test_store_prune(bench, store):
    where = ("--store", store.root)
    with pytest.raises(BenchError, match="say what to prune"):
        bench("store", "prune", *where)
    assert bench("store", "prune", "--stage", "probe", "--dry-run", *where).startswith("would free 2 KiB")
    assert len(store.entries()) == 2
    bench("store", "prune", "--partial", *where)
    assert [entry.stage for entry in store.entries()] == ["probe"]
    assert bench("store", "prune", "--older-than", "1", *where) == "freed 0 B\n"
    assert bench("store", "prune", "--max-gib", "0", *where).startswith("freed 2 KiB")
    assert store.entries() == []


def test_the_store_may_be_named_by_the_environment(bench, store, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", str(store.root))
    assert f"2 stages, 2 KiB in {store.root}" in bench("store", "list")


def test_files_that_cannot_be_read_are_named(bench, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(common, "log_out", Console(stderr=True, width=250))
    data = type("Data", (), {"skipped": tuple(f"{i}.png" for i in range(7))})()
    common.warn_of_skipped(data)
    assert capsys.readouterr().err == (
        "bench: 7 files cannot be read and are left out: 0.png, 1.png, 2.png, 3.png, 4.png ...\n"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "2 KiB"),
        (5 * 2**20, "5 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (2**41, "2048.0 GiB"),
    ],
)
def test_sizes_for_people(count, text):
    assert size(count) == text


def test_a_record_that_cannot_be_written_is_found_out_before_the_work(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path, said in ((tmp_path, "it is a folder"), (blocked / "record.json", "file is no folder")):
        with pytest.raises(BenchError, match=said):
            check_can_write(path)
    check_can_write(tmp_path / "new" / "record.json")
