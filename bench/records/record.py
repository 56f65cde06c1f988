"""The record of a run: everything a number in a table can be traced back to. JSON, checked by
record.schema.json.

A record is a plain dict. What it may hold, and in which units, stands in the schema; here it is checked,
kept, and given a fingerprint, and the facts about this machine and this source tree are gathered.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Dataset
from bench.data.manifest import Manifest
from bench.errors import BenchError, nearest
from bench.parallel.at_once import cores
from bench.store import check_json, digest, read_json, write_json

from .metrics import DETECTION, PARTS, TEST_TIME, percent, schema_of

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

Record = dict[str, Any]
SCHEMA_VERSION = 6
"""2: a record says its status. 3: and what clean images the removal costs. 4: and in how many windows any part of the
trigger is (hit). 5: a run may end with its verdict (run.until), and says whether its defense is a baseline. 6: instead
of the training images test images may be judged (test_time), or the encoder. Older ones are brought up to it when they
are read, without what they do not know."""
MEASURED, SUBMITTED = "measured", "submitted"
_PACKAGES = (
    "numpy",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "scikit-learn",
    "pillow",
    "safetensors",
)
_HOW_IT_CAME = {"schema_version", "status", "submission"}
_FLEETING = {"created", "hardware", "versions", "plugins", "seconds", "peak_memory_mb", "threads"}
_NO_CODE = (":(top,exclude)leaderboards", ":(top,exclude)docs")
_FAISS = ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu", "faiss")


def entries(part: object, name: str = "", *, lists: bool = False) -> Iterator[tuple[str, Any]]:
    """What nested mappings hold, with `lists` also what lists do, by path: ("attack.rate", 0.5) ...; an empty one is
    itself a value."""
    inner = dict(enumerate(part)) if lists and isinstance(part, list) else part
    if isinstance(inner, Mapping) and inner:
        for key, value in inner.items():
            yield from entries(value, f"{name}.{key}" if name else str(key), lists=lists)
    else:
        yield name, part


def numbers(metrics: object) -> dict[str, float | None]:
    """All that metrics hold, by path: {"none.clean.acc": 71.2, ..., "per_trigger.0.recall": 100.0}."""
    return {path: value for path, value in entries(metrics, lists=True) if not isinstance(value, Mapping | list)}


# --- checking, reading, writing -------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a record: record.schema.json with the metrics of METRICS."""
    text = resources.files(__package__).joinpath("record.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    found["$defs"] |= {part: schema_of(part) for part in PARTS}
    return found


@functools.cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def validate(record: object, source: str = "record") -> None:
    """Raise BenchError, naming place, got and expected, where `record` breaks the schema."""
    check_json(record, source)
    errors = sorted(_validator().iter_errors(record), key=lambda error: (len(error.absolute_path), error.json_path))
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise BenchError(f"{source}: {_complaint(errors[0])}{more}")


def _complaint(error: ValidationError) -> str:
    """Where the record is wrong, what the schema says to it, and what that place means or which key it may have."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path]
    place = "".join(parts).removeprefix(".") or "the record"
    text = error.message if len(error.message) <= 200 else f"{error.message[:197]}..."
    about: Any = error.schema
    got: Any = error.instance
    meaning = f" ({about['description']})" if parts and "description" in about else ""
    if error.validator == "additionalProperties" and "properties" in about:
        strange = next(key for key in got if key not in about["properties"])
        meaning = f".{nearest(strange, about['properties'])}"
    return f"{place}: {text}{meaning}"


def load(path: Path) -> Record:
    """Read and check a record, of any version of the schema. Raises BenchError naming the file where it cannot be
    used."""
    expected = "expected a record, the JSON file that `bench run` writes"
    if path.is_dir():
        found = sorted(path.glob("*.json"))
        hint = f", as {found[0]}" if found else ""
        raise BenchError(f"{path} is a folder; {expected}{hint}")
    if path.is_file() and path.stat().st_size == 0:
        raise BenchError(f"{path} is empty; {expected}")
    record = read_json(path)
    if not isinstance(record, dict) or len({"schema_version", "run", "metrics"} & record.keys()) < 2:
        got = f"a {type(record).__name__}" if not isinstance(record, dict) else _keys(record)
        raise BenchError(f"{path} is JSON, but no record: {got}; {expected}")
    validate(record, str(path))
    return upgraded(record)


def is_newer(path: Path) -> bool:
    """Whether it is a record of a newer version of the schema than is known here."""
    try:
        version = read_json(path)["schema_version"]
        return isinstance(version, int) and version > SCHEMA_VERSION
    except (BenchError, KeyError, TypeError, IndexError):
        return False


def _keys(found: Mapping[str, Any]) -> str:
    """The keys of an object, in words."""
    names = ", ".join(map(ascii, list(found)[:4])) + (", ..." if len(found) > 4 else "")
    return f"an object with {names}" if found else "an object without keys"


def upgraded(record: Mapping[str, Any]) -> Record:
    """A valid record of any version of the schema as one of SCHEMA_VERSION, with the same fingerprint."""
    return {"status": MEASURED, **record, "schema_version": SCHEMA_VERSION}


def measured(record: Mapping[str, Any]) -> bool:
    """Whether it was run here, and not sent in; older records, which do not say, were."""
    return bool(record.get("status", MEASURED) == MEASURED)


def whole(record: Mapping[str, Any]) -> bool:
    """Whether the run had a second training, and so "defended" numbers."""
    return bool(record["run"].get("until", "end") == "end")


def repair_cost(record: Mapping[str, Any]) -> float | None:
    """Seconds of the repair, in percent of those of the first training; None where one of them was not made."""
    first = record["stages"].get("threat_model", {}).get("seconds")
    if not record["run"].get("repair") or record["config"].get("threat") or not first or not whole(record):
        return None
    return float(100 * record["stages"]["retraining"]["seconds"] / first)


def pace(record: Mapping[str, Any]) -> float:
    """Seconds of a detector's stage for each test image, what it did before the first one included."""
    found = record["metrics"][TEST_TIME]
    return float(record["stages"]["defense"]["seconds"]) / max(1, int(found["clean"] + found["triggered"]))


def only_judges(record: Mapping[str, Any]) -> bool:
    """Whether the run was of a detector or an encoder test, which choose no images: it has no "detection"."""
    return DETECTION not in record["metrics"]


def save(path: Path, record: Mapping[str, Any]) -> None:
    """Check `record` and write it atomically: sorted keys, a closing newline."""
    validate(dict(record))
    write_json(path, dict(record))


def fingerprint(record: Mapping[str, Any]) -> str:
    """SHA-256 of the outcome: of the record without times, memory, date, hardware, versions, where its plugins come
    from, and how it came here.

    Two runs of the same command agree in it, however often they were interrupted.
    """
    lasting = {name: value for name, value in record.items() if name not in _FLEETING | _HOW_IT_CAME}
    lasting["run"] = {name: value for name, value in record["run"].items() if name != "asked"}
    lasting["stages"] = {
        name: {fact: value for fact, value in stage.items() if fact not in _FLEETING}
        for name, stage in record["stages"].items()
    }
    return digest(lasting, "record")


def plain_title(record: Mapping[str, Any]) -> str:
    """Dataset, attack, defense and seed as the start of a file name, whatever the record's texts say."""
    run = record["run"]
    return "-".join(map(plain_name, (record["dataset"]["name"], run["attack"], run["defense"], f"seed{run['seed']}")))


def plain_name(text: str) -> str:
    """At most 40 characters of `text`: letters, digits, "-", "+" and "_", which stands for all others."""
    return re.sub(r"[^A-Za-z0-9_+-]+", "_", text)[:40]


# --- the facts that a record holds ----------------------------------------------------------------


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """The record's "dataset"."""
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "classes_sha256": digest(list(dataset.classes)),
        "classes": len(dataset.classes),
        "counts": {"train": len(dataset.train), "val": len(dataset.val)},
        "image_size": dataset.size,
        "skipped": len(dataset.skipped),
    }


def poison_facts(
    manifest: Manifest, labels: NDArray[np.int64], targets: Sequence[int], classes: Sequence[str]
) -> dict[str, Any]:
    """The record's "poison", counted from the manifest of the training set.

    labels: (N,) class indices. targets: the target class of each trigger. rate_of_target is, for one
    trigger, the share of its target class that carries it, and over all triggers the share of the images of
    all target classes. A trigger that is not at one place has "placed": False; locating it does not apply.
    """
    poisoned, placed = manifest.poisoned, manifest.boxes[:, 0] >= 0
    triggers = []
    for trigger, target in enumerate(targets):
        carries = manifest.trigger == trigger
        count = int(np.count_nonzero(carries))
        rate = percent(count, np.count_nonzero(labels == target))
        found = {"target": classes[target], "count": count, "rate_of_target": rate}
        triggers.append(found if not count or placed[carries].any() else {**found, "placed": False})
    of_targets = np.count_nonzero(np.isin(labels, list(targets)))
    return {
        "count": int(np.count_nonzero(poisoned)),
        "rate_of_target": percent(np.count_nonzero(poisoned), of_targets),
        "rate_of_dataset": percent(np.count_nonzero(poisoned), len(manifest)),
        "targets": [classes[target] for target in targets],
        "triggers": triggers,
    }


def versions() -> dict[str, str | None]:
    """Version of Python and of each library that can change a number; None where it is not installed."""
    found = {name: _version(name) for name in _PACKAGES}
    faiss = next((version for name in _FAISS if (version := _version(name))), None)
    return {"python": platform.python_version(), "faiss": faiss, **found}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware() -> dict[str, Any]:
    """This machine: system, processor, usable cores, memory in MiB, names of accelerators."""
    import psutil

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": cores(),
        "memory_mb": round(psutil.virtual_memory().total / 2**20),
        "accelerators": _accelerators(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _accelerators() -> list[str]:
    """Names of GPUs. Does not load torch (seconds) on a machine that has no driver for any."""
    drivers = (Path("/proc/driver/nvidia"), Path("/dev/kfd"))
    if "torch" not in sys.modules and sys.platform == "linux" and not any(map(Path.exists, drivers)):
        return []
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [*names, *(["mps"] if torch.backends.mps.is_available() else [])]


def git_state(folder: Path = Path(__file__).parent) -> dict[str, Any] | None:
    """Commit hash of the source tree that `folder` belongs to, and whether tracked files were changed since; results
    and documents do not count: a matrix may write its records where they are kept.

    None where the package was installed otherwise (its own file is not tracked there), or git cannot tell.
    """
    tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *_NO_CODE)
    if not tracked or not commit or changes is None:
        return None
    return {"hash": commit, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where it fails or is missing. The caller's GIT_* variables do not count."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
