"""Malformed inputs, each drawn from a seed and its number, so that one that fails can be made again.

A kind is a function (rng, folder, store) -> a call that ends with an exit code, as `bench` would. It writes what it
needs into the empty `folder`; `store` is the store of a finished run of the preset `smoke`, only read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import string
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.cli import main as cli

Call = Callable[[], Any]
Kind = Callable[[random.Random, Path, Path], Call]
KINDS: dict[str, Kind] = {}
PRESET = Path(__file__).parents[2] / "bench" / "config" / "presets" / "smoke.toml"
RECORDS = sorted((Path(__file__).parents[1] / "fixtures" / "records").glob("*.json"))
DEEP = 3000
SECTIONS = ("dataset", "ssl", "attack", "defense", "encoder", "views", "train", "probe")


def kind(function: Kind) -> Kind:
    """Registers a kind by its name."""
    KINDS[function.__name__] = function
    return function


def bench(*arguments: object) -> int | Any:
    """What the command line makes of these arguments."""
    return cli.app([str(each) for each in arguments], standalone_mode=False)


def hostile(rng: random.Random, instead: Any = None) -> Any:
    """A value that few programs expect; mostly of the kind of what it stands `instead` of."""
    numbers = [-1, 0, 1, 2, 3, 2**31, 2**63 - 1, 2**63, 2**70, 10**9, -(2**63), 10**40]
    floats = [0.0, -0.5, 0.5, 1e-300, 1e308, -1e308, float("nan"), float("inf")]
    texts = ["", " ", "x", "none", "htba", "\0", "\ud800", "é" * 3, "..", "/dev/zero", "~nobody", "a" * 10_000, "%s{0}"]
    nested: Any = 1
    for _ in range(rng.choice([1, 3, 200])):
        nested = [nested]
    if isinstance(instead, float) and rng.random() < 0.8:
        return rng.choice(floats + numbers)
    if isinstance(instead, int) and not isinstance(instead, bool) and rng.random() < 0.8:
        return rng.choice(numbers)
    if isinstance(instead, str) and rng.random() < 0.8:
        return rng.choice(texts)
    if isinstance(instead, list | tuple) and rng.random() < 0.8:
        return [hostile(rng, each) if rng.random() < 0.7 else each for each in instead]
    others = [True, False, None, [], [1, 2], ["a"], {}, {"a": 1}, {"": {}}, nested]
    return rng.choice(rng.choice([numbers, floats, texts, others]))


def toml(value: Any) -> str:
    """`value` as TOML, or something near it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def document(value: Any) -> bytes:
    """A TOML file of it, empty where it is no table."""
    lines = [f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()] if isinstance(value, dict) else []
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def broken(rng: random.Random, data: bytes) -> bytes:
    """Some bytes of it changed, cut, doubled or put in."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        some = rng.randbytes(rng.choice([1, 4, 100]))
        end = at + rng.choice([0, 1, 50])
        data = rng.choice([data[:at] + some + data[end:], data[:at], data[:end] + data[at:], data + some])
    return data


def changed(rng: random.Random, value: Any) -> Any:
    """One place somewhere in this JSON replaced, taken out or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], changed(rng, value[at]), *value[at + 1 :]]
    return hostile(rng, value)


def setting(rng: random.Random) -> str:
    """SECTION.OPTION=VALUE, mostly of an option that there is."""
    from bench.config.config import _SETTINGS
    from bench.plugins.manager import Plugins
    from bench.plugins.options import options

    plugins, section = Plugins.load(), rng.choice(SECTIONS)
    own = {"dataset": "scenes", "ssl": "moco_v3", "attack": "htba", "defense": "poisoncam"}
    cls = plugins.get(section, own[section]) if section in own else _SETTINGS[section]
    option = rng.choice(options(cls))
    name, value = option.name, hostile(rng, 1 if "int" in option.type and option.default is None else option.default)
    text = rng.choice([toml(value), str(value)])
    return rng.choice([f"{section}.{name}={text}"] * 9 + [f"{name}={text}", f"{section}{text}", text])


@kind
def settings(rng: random.Random, folder: Path, store: Path) -> Call:
    chosen = [part for _ in range(rng.choice([1, 1, 2])) for part in ("--set", setting(rng).replace("\0", "0"))]
    return partial(bench, "plan", "--preset", "smoke", "--store", store, *chosen)


@kind
def presets(rng: random.Random, folder: Path, store: Path) -> Call:
    import tomllib

    text = PRESET.read_text(encoding="utf-8")
    data = text.encode()
    if rng.random() < 0.3:
        data = broken(rng, data)
    elif rng.random() < 0.1:
        data += b"\nx = " + b"[" * DEEP + b"]" * DEEP
    else:
        data = document(changed(rng, tomllib.loads(text)))
    (folder / "p.toml").write_bytes(data)
    return partial(bench, "plan", "--preset", folder / "p.toml", "--store", store)


@kind
def matrices(rng: random.Random, folder: Path, store: Path) -> Call:
    value: Any = {
        "preset": "smoke",
        "seeds": [0, 1],
        "until": "detection",
        "settings": ["defense.masks=64"],
        "defenses": ["poisoncam", "none", {"name": "patchsearch", "settings": ["defense.window=12"]}],
        "attacks": ["htba", {"name": "htba", "settings": ["attack.target=1"]}],
    }
    for _ in range(rng.choice([1, 1, 2])):
        value = changed(rng, value) if isinstance(value, dict) else value
    data = document(value)
    (folder / "m.toml").write_bytes(broken(rng, data) if rng.random() < 0.2 else data)
    return partial(bench, "matrix", folder / "m.toml", "--dry-run", "--store", store)


def record_in(rng: random.Random, path: Path) -> None:
    """A record at `path` with something wrong in it."""
    data = rng.choice(RECORDS).read_bytes()
    text = data if rng.random() < 0.3 else json.dumps(changed(rng, json.loads(data))).encode()
    path.write_bytes(broken(rng, text) if rng.random() < 0.3 else text)


@kind
def records(rng: random.Random, folder: Path, store: Path) -> Call:
    for number in range(rng.choice([1, 2])):
        record_in(rng, folder / f"{number}.json")
    one, output = folder / "0.json", folder / "out.md"
    return rng.choice(
        [
            partial(bench, "leaderboard", folder, "--output", output),
            partial(bench, "compare", "poisoncam", "none", folder),
            partial(bench, "verify", one),
            partial(bench, "submit", one, "--store", store),
            partial(bench, "report", one, "--store", store, "--output", folder / "r.html"),
        ]
    )


def resealed(data: bytes) -> bytes:
    """A submission whose list of checksums fits what is in it, so that what it holds is looked at."""
    with zipfile.ZipFile(io.BytesIO(data)) as there:
        files = {name: there.read(name) for name in there.namelist()}
    members = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "about.json"}
    files["about.json"] = json.dumps({"format": 1, "members": members}).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


@kind
def submissions(rng: random.Random, folder: Path, store: Path) -> Call:
    """From a whole one, where the store has one beside its records (the campaign makes it)."""
    sample, made = store / "submission.zip", io.BytesIO()
    with zipfile.ZipFile(sample) as there, zipfile.ZipFile(made, "w", rng.choice([0, 8])) as archive:
        for name in there.namelist():
            data = there.read(name)
            if rng.random() < 0.3:
                is_json = name.endswith(".json") and rng.random() < 0.7
                data = json.dumps(changed(rng, json.loads(data))).encode() if is_json else broken(rng, data)
            if rng.random() < 0.95:
                archive.writestr(rng.choice([name] * 20 + ["../" + name, "/" + name, name + "\n"]), data)
    data = made.getvalue()
    if rng.random() < 0.5:
        data = resealed(data)
    (folder / "s.zip").write_bytes(broken(rng, data) if rng.random() < 0.3 else data)
    return partial(bench, "verify", folder / "s.zip", "--into", folder / "kept")


@kind
def checkpoints(rng: random.Random, folder: Path, store: Path) -> Call:
    import torch
    from safetensors.torch import load_file, save_file

    from bench.config.config import load_config
    from bench.plugins.manager import Plugins
    from bench.ssl.import_weights import Checkpoint, import_encoder

    encoder = next((store / "pretrain").glob("*/encoder.safetensors"))
    tensors: dict[Any, Any] = load_file(encoder)
    name = rng.choice(list(tensors))
    as_it_is = tensors[name]
    tensors[rng.choice([name] * 5 + [3, "", "head." + name])] = rng.choice(
        [
            *(as_it_is.to(dtype) for dtype in (torch.complex64, torch.int8, torch.bool, torch.float16)),
            *(as_it_is.flatten()[:3], as_it_is[None], as_it_is * float("nan"), torch.empty(0), as_it_is.to("meta")),
            *(as_it_is.to_sparse(), torch.quantize_per_tensor(as_it_is.float(), 0.1, 0, torch.qint8), hostile(rng)),
        ]
    )
    wrapped: Any = rng.choice([tensors, {"state_dict": tensors}, {"model": {"net": tensors}}, [tensors], hostile(rng)])
    path = folder / rng.choice(["c.pth", "c.safetensors", "c"])
    torch.save(wrapped, path)
    if path.suffix == ".safetensors" and rng.random() < 0.7:
        usable = lambda v: v.device.type == "cpu" and v.layout == torch.strided and not v.is_quantized  # noqa: E731
        plain = {k: v for k, v in tensors.items() if isinstance(k, str) and torch.is_tensor(v) and usable(v)}
        save_file({k: v.contiguous().clone() for k, v in plain.items()}, path)
    if rng.random() < 0.4:
        path.write_bytes(broken(rng, path.read_bytes()))
    config = load_config(Plugins.load(), "smoke")
    return lambda: import_encoder(Checkpoint.of(path).path, config.encoder, config.dataset.size) and 0


def as_array(value: Any) -> Any:
    """The value as an array, of objects where it is of no one shape."""
    if isinstance(value, np.ndarray):
        return value
    made = np.empty(1, object)
    made[0] = value
    return made


@kind
def verdicts(rng: random.Random, folder: Path, store: Path) -> Call:
    """What the process of a defense may say instead of an answer, and defenses' answers that are none."""
    from bench.api import Grouping, Verdict
    from bench.isolation.process import IsolatedDefense
    from bench.isolation.verdict import check_verdict, put_together, taken_apart

    count, method = 12, rng.choice(["clean", "attention", "grouping"])
    arrays = [np.ones(count, bool), np.ones(count), np.zeros((count, 4), int), np.array([None] * count), np.ones(0)]
    arrays += [np.array(["a"] * count), np.zeros((count, 8, 8)), np.full(count, np.nan), np.ones(count, complex)]
    some = lambda: rng.choice([*arrays, hostile(rng)])  # noqa: E731 - another one each time
    if rng.random() < 0.4:
        verdict = Verdict(keep=some(), score=some(), boxes=some(), facts=hostile(rng))
        answer = rng.choice([verdict, Grouping(some(), some(), hostile(rng)), (some(), some()), hostile(rng)])

        def call() -> int:
            found = put_together(method, *taken_apart(method, answer, "mine"), "mine")
            if method == "clean":
                check_verdict(found, count, 8, "mine")
            return 0

        return call
    packed = io.BytesIO()
    named = {rng.choice(["keep", "score", "x"]): some() for _ in range(2)}
    rng.choice([np.savez, np.savez_compressed])(packed, **{name: as_array(value) for name, value in named.items()})
    data = broken(rng, packed.getvalue()) if rng.random() < 0.5 else packed.getvalue()
    told: Any = {"answer": {"facts": hostile(rng)}, "bytes": len(data), "peak_memory_mb": 1.0}
    told = changed(rng, told) if rng.random() < 0.5 else told
    line = json.dumps(told).encode() + b"\n" + data
    stream = io.BytesIO(broken(rng, line) if rng.random() < 0.3 else line)
    job = SimpleNamespace(defense=SimpleNamespace(name="mine"))
    isolated = IsolatedDefense(job=job, order=np.arange(count), size=8)  # type: ignore[arg-type]
    process: Any = SimpleNamespace(stdout=stream, wait=lambda: 1)
    return lambda: put_together(method, *isolated._hear(process, "mine", 1 << 20), "mine") and 0


def image_in(rng: random.Random, path: Path) -> None:
    """A file that may be an image, or nothing of the kind."""
    from PIL import Image

    if rng.random() < 0.7:
        Image.fromarray(np.frombuffer(rng.randbytes(3072), np.uint8).reshape(32, 32, 3)).save(path, "PNG")
        return
    size = rng.choice([(8, 8), (1, 1), (33, 20)])
    mode = rng.choice(["RGB", "L", "RGBA", "1", "P", "I;16", "CMYK"])
    made = io.BytesIO()
    format = rng.choice(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
    try:
        Image.new(mode, size).save(made, format)
    except (OSError, KeyError, ValueError):
        Image.new("RGB", size).save(made, "PNG")
    data = made.getvalue()
    huge = data.replace(size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big"), b"\0\1\0\0\0\1\0\0")
    path.write_bytes(rng.choice([data, data, data, broken(rng, data), b"", huge, rng.randbytes(50)]))


@kind
def folders(rng: random.Random, folder: Path, store: Path) -> Call:
    from PIL import Image

    root = folder / "images"
    for split in ("train", "val"):
        for label in ("a", "b", *rng.choices(["c", " ", "é", "..d", "\udcff"], k=rng.choice([0, 0, 1]))):
            here = root / split / label
            here.mkdir(parents=True)
            Image.fromarray(np.frombuffer(rng.randbytes(3072), np.uint8).reshape(32, 32, 3)).save(here / "good.png")
            for number in range(rng.choice([0, 5, 60])):
                image_in(rng, here / f"{number}.{rng.choice(['png', 'jpg', 'PNG', 'txt'])}")
            odd = here / rng.choice(["x.png", "y"])
            act: list[Call] = [
                lambda odd=odd: os.mkfifo(odd),
                lambda odd=odd: odd.symlink_to("/dev/zero"),
                lambda odd=odd, root=root: odd.symlink_to(root),
                lambda odd=odd: odd.symlink_to(odd),
                lambda odd=odd: odd.mkdir(),
            ]
            if rng.random() < 0.3:
                rng.choice(act)()
    name = "".join(rng.choices(string.ascii_letters, k=6))
    scan = partial(bench, "scan", root, "--quick", "--output", folder / name, "--store", folder / "store")
    where = ("--set", f"dataset.root={root}", "--set", "dataset.size=32")
    plan = partial(bench, "plan", "--preset", "smoke", "--dataset", "folder", *where, "--store", store)
    return rng.choice([scan, plan])


def member_name(rng: random.Random) -> str:
    odd = [
        "",
        ".",
        "/",
        "..",
        "../x.png",
        "/etc/x.png",
        ".h.png",
        "a/" * 200 + "x.png",
        "\udcff.png",
        "x\0.png",
        "é.png",
    ]
    return rng.choice([f"{rng.randrange(9)}.png", f"a/{rng.randrange(9)}.png", rng.choice(odd)])


def tarred(rng: random.Random, picture: bytes) -> bytes:
    """A tar of pictures whose heads lie, some with notes that are odd."""
    import tarfile

    kinds = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
    notes = [
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.GNUTYPE_SPARSE,
    ]
    made = b""
    for _ in range(rng.choice([1, 5, 50])):
        entry = tarfile.TarInfo("x")
        entry.name = member_name(rng).replace("\0", "")
        entry.size, entry.type = len(picture), rng.choice([tarfile.REGTYPE] * 6 + [rng.choice(kinds + notes)])
        if rng.random() < 0.2:
            entry.size = rng.choice([0, 1, 1 << 20, 1 << 33, (1 << 62) - 1])
        if rng.random() < 0.3:
            major, size = rng.choice(["1", "0", "x"]), rng.choice(["1", "-1", "9" * 30])
            entry.pax_headers = {"path": member_name(rng).replace("\0", ""), "size": size, "GNU.sparse.major": major}
            entry.pax_headers |= {"GNU.sparse.minor": "0", "GNU.sparse.map": rng.choice(["1,2", "x", "1," * 999])}
        format = rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
        try:
            made += entry.tobuf(format)
        except ValueError:  # what this format cannot say
            continue
        made += picture.ljust(-len(picture) % 512 + len(picture), b"\0")
    return made + bytes(1024)


@kind
def archives(rng: random.Random, folder: Path, store: Path) -> Call:
    """A .tar, .tar.gz, .zip or a list of paths, and what is in it."""
    import gzip
    import warnings

    from PIL import Image

    made = io.BytesIO()
    Image.frombytes("RGB", (16, 16), rng.randbytes(768)).save(made, "PNG")
    picture, name = made.getvalue(), rng.choice(["x.tar", "x.tar.gz", "x.zip", "x.zip", "x", "x.txt"])
    if name == "x.txt":
        lines = [json.dumps(member_name(rng)) if rng.random() < 0.5 else member_name(rng) for _ in range(9)]
        data = "\n".join(lines).encode("utf-8", "surrogatepass")
    elif name == "x.zip":
        made = io.BytesIO()
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(made, "w", rng.choice([0, 8])) as archive:
            for _ in range(rng.choice([1, 5, 50])):
                entry = zipfile.ZipInfo(member_name(rng).replace("\udcff", "ÿ"))
                entry.filename = rng.choice([entry.filename] * 4 + [""])
                entry.external_attr = rng.choice([0, 0, 0o120777 << 16, 0xFFFFFFFF])
                archive.writestr(entry, picture)
        data = made.getvalue()
    else:
        data = tarred(rng, picture)
    data = broken(rng, data) if rng.random() < 0.4 else data
    (folder / name).write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
    there = ("--output", folder / "out", "--store", folder / "store")
    return partial(bench, "scan", folder / name, "--quick", "--size", "16", *there)


@kind
def paths(rng: random.Random, folder: Path, store: Path) -> Call:
    """A command with a path that is none, or leads to what it should not."""
    place = folder / "p"
    act: list[Call] = [
        lambda: os.mkfifo(place),
        lambda: place.symlink_to(rng.choice(["p", "nowhere", "..", "/dev/zero", "/dev/full"])),
        place.mkdir,
        lambda: place.write_bytes(rng.randbytes(rng.choice([0, 9, 9999]))),
        lambda: None,
    ]
    rng.choice(act)()
    path = rng.choice([place, place, place, place / "x", folder / ("é" * 300), "", " ", "/proc/nothing/x", "~nobody/x"])
    path = f"{path}{rng.choice(['', '', '.json', '.toml', '.py', '.png'])}"
    run = next((store / "records").glob("*.json"))
    smoke = ("--preset", "smoke", "--store", store)
    commands: list[tuple[object, ...]] = [
        ("plan", "--preset", path),
        ("plan", *smoke, "--plugin", path),
        ("plan", *smoke, "--threat-checkpoint", path),
        ("plan", *smoke, "--set", f"attack.trigger={path}"),
        ("plan", *smoke, "--dataset", "folder", "--set", f"dataset.root={path}"),
        ("plan", "--preset", "smoke", "--store", path),
        ("matrix", path, "--dry-run", "--store", store),
        ("leaderboard", path),
        ("leaderboard", run, "--output", path),
        ("leaderboard", run, "--format", "html", "--output", path),
        ("compare", path, run, "--store", store),
        ("submit", run, "--store", store, "--output", path),
        ("verify", path),
        ("verify", store / "submission.zip", "--into", path),
        ("report", path, "--store", store),
        ("scan", path, "--quick", "--store", folder / "store", "--output", folder / "out"),
        ("store", "list", "--store", path),
        ("store", "check", "--store", path),
        ("store", "prune", "--run", path, "--dry-run", "--store", store),
        ("new", rng.choice(["defense", "attack", "x"]), "one-more", "--directory", path),
        ("list", "--plugin", path),
        ("list", "preset", path),
    ]
    return partial(bench, *rng.choice(commands))


PLUGIN = """
from dataclasses import dataclass, field
from typing import ClassVar
from bench import Defense, Verdict, hookimpl
{before}
@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    {doc!r}
    name: ClassVar[str] = {name}
    {inside}
    def clean(self, view):
        raise NotImplementedError
@hookimpl
def bench_defenses():
    return {offered}
"""


@kind
def plugins(rng: random.Random, folder: Path, store: Path) -> Call:
    """A plugin's file that is odd in itself."""
    error = rng.choice(
        ["OSError('x')", "KeyError", "SystemExit(5)", "GeneratorExit", "ZeroDivisionError", "SyntaxError"]
    )
    value = rng.choice(["5", "None", "'x'", "['a']", "float('nan')", "10**5000", "'\\ud800'", "lambda: 0"])
    method = rng.choice(
        ["identity(self)", "in_force(self, count, size)", "forwards(self, count, size)", "__post_init__(self)"]
    )
    inside = [
        f"{rng.choice(['needs', 'paper', 'url', 'baseline', 'variant_of', '__doc__'])}: ClassVar = {value}",
        f"x: object = field(default_factory=lambda: {value})",
        f"x: {rng.choice(['int', '5', chr(39) + 'odd ((' + chr(39), 'list[Mine]', 'nothing'])} = {value}",
        f"def {method}: raise {error}",
        f"def {method}: return {value}",
        "pass",
    ]
    text = PLUGIN.format(
        before=rng.choice(["", "", "", "", f"raise {error}", "import nothing_of_that_name", "\0", "x = ("]),
        doc=rng.choice(["Mine.", "", "  ", "\n\n", "[bold]x[/]", "\x1b[2J"]),
        name=rng.choice(["'mine'", "'mine'", "'mine'", value]),
        inside=rng.choice(inside),
        offered=rng.choice(["[Mine]", "[Mine]", "[Mine]", "Mine", "None", "[Mine()]", "[int]"]),
    )
    data = text.encode("utf-8", "surrogatepass")
    (folder / "mine.py").write_bytes(broken(rng, data) if rng.random() < 0.1 else data)
    plan = ("plan", "--preset", "smoke", "--store", store, "--defense", "mine")
    command: tuple[object, ...] = rng.choice([plan, plan, ("list",), ("list", "defense"), ("list", "defense", "mine")])
    return partial(bench, *command, "--plugin", folder / "mine.py")


@kind
def stores(rng: random.Random, folder: Path, store: Path) -> Call:
    """A store in which a file was changed, and what looks into it."""
    import shutil

    there = Path(shutil.copytree(store, folder / "s"))
    run = next((there / "records").glob("*.json"))
    if rng.random() < 0.3:  # as a store from before there were checksums
        for meta in there.glob("*/*/meta.json"):
            meta.write_text(json.dumps({k: v for k, v in json.loads(meta.read_bytes()).items() if k != "sha256"}))
    small = [each for each in sorted(there.glob("*/*/*")) if each.is_file() and each.stat().st_size < 1 << 16]
    odd = rng.choice([*small, run])
    if odd.suffix == ".json" and rng.random() < 0.6:
        odd.write_text(json.dumps(changed(rng, json.loads(odd.read_bytes()))), encoding="utf-8", errors="surrogatepass")
    elif rng.random() < 0.6:
        odd.write_bytes(broken(rng, odd.read_bytes()))
    else:
        odd = rng.choice([odd, odd.parent, odd.parents[1]])
        shutil.rmtree(odd) if odd.is_dir() else odd.unlink()
        rng.choice([odd.touch, lambda: odd.symlink_to(odd.name), lambda: odd.symlink_to("/dev/zero"), lambda: None])()
    commands: list[tuple[object, ...]] = [
        ("store", "list"),
        ("store", "check"),
        ("store", "prune", "--older-than", "0", "--dry-run"),
        ("store", "prune", "--run", run),
        ("plan", "--preset", "smoke"),
        ("submit", run),
        ("report", run, "--output", folder / "r.html"),
        ("leaderboard",),
        ("reproduce", "table1"),
    ]
    return partial(bench, *rng.choice(commands), "--store", there)
