"""A run in five sentences, each made from its numbers; the last says how little one run can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import counted
from bench.records.metrics import TEST_TIME
from bench.records.record import Record, only_judges, pace, whole

from .controls import Beside
from .tables import share

if TYPE_CHECKING:
    from .artifacts import Artifacts

STRONG, WEAK = 50.0, 20.0  # points of ASR that a trigger adds; our words for them


def story(record: Record, beside: Beside, artifacts: Artifacts | None = None) -> list[str]:
    """Five sentences of plain text. artifacts: say how the second training was changed, which the record does not."""
    return [
        _planted(record),
        _threat(record),
        judgement(record) if only_judges(record) else _defended(record, artifacts),
        _after(record, beside),
        _noise(record, beside),
    ]


def points(before: float | None, after: float | None) -> str:
    """A signed difference of two percentages; a dash where one is undefined."""
    if before is None or after is None:
        return "-"
    rounded = round(after, 1) - round(before, 1)  # as the reader would subtract
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}").replace("+0.0", "0.0").replace("\N{MINUS SIGN}0.0", "0.0")


def chance(count: int) -> float:
    """By how many points, at most, chance moves a share of `count` images: half a 95 % interval of a share of one
    half."""
    return float(98.0 / max(count, 1) ** 0.5)


def _targets(record: Record) -> str:
    names = [f"'{name}'" for name in _names(record)]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _names(record: Record) -> list[str]:
    return list(record["poison"]["targets"]) or ["the target class"]


def _several(record: Record) -> bool:
    return len(_names(record)) > 1


def _planted(record: Record) -> str:
    poison, total = record["poison"], record["dataset"]["counts"]["train"]
    if not poison["count"]:
        return f"The attack {record['run']['attack']} poisoned none of the {total:,} training images."
    plain = f"In {poison['count']:,} of the {total:,} training images ({share(poison['rate_of_dataset'])}; "
    plain += f"{share(poison['rate_of_target'])} of the images of {_targets(record)}) the attack "
    plain += f"{record['run']['attack']} planted "
    if _several(record):
        return plain + f"one of {len(_names(record))} triggers, so that an encoder learns to link each with its class."
    return plain + "a trigger, so that an encoder trained on them without labels links the trigger with that class."


def _threat(record: Record) -> str:
    found, imported = record["metrics"]["none"], record["config"].get("threat")
    origin = f"imported from {imported['checkpoint']}" if imported else "trained on all of these images"
    target = "the class of the trigger they carry" if _several(record) else _targets(record)
    clean, poisoned = found["clean"], found["poisoned"]
    return (
        f"On an encoder {origin}, a linear classifier is right on {share(clean['acc'])} of the clean validation "
        f"images, and takes {share(poisoned['asr'])} of the images of other classes for {target} once they carry the "
        f"trigger, against {share(clean['asr'])} of them without it: {_strength(record)}."
    )


def _strength(record: Record) -> str:
    found = record["metrics"]["none"]
    before, after = found["clean"]["asr"], found["poisoned"]["asr"]
    if before is None or after is None:
        return "whether the attack works cannot be said"
    gain, noise = after - before, chance(record["dataset"]["counts"]["val"])
    if gain <= noise:
        return "the attack does not work here, and there is nothing to defend against"
    return "a strong backdoor" if gain >= STRONG else "a backdoor" if gain >= WEAK else "a weak backdoor"


def _trained_again(record: Record) -> bool:
    """Whether there was a second training at all."""
    keys = [record["stages"].get(name, {}).get("key") for name in ("threat_model", "retraining")]
    return keys[0] is None or keys[0] != keys[1]


def _defended(record: Record, artifacts: Artifacts | None) -> str:
    name, count = record["run"]["defense"], record["metrics"]["detection"]["removed"]
    who = f"{name}, a control and no defense," if record["run"].get("control") else name
    if artifacts and artifacts.unpoisoned:
        return f"{who} removed nothing: the new encoder was trained on the same images without any trigger."
    change = artifacts.training_change if artifacts else None
    changed = f"{change} changed how the new encoder was trained"
    if record["run"].get("repair"):
        change = record["run"]["defense"].rpartition("+")[2]
        changed = f"{change} made the new encoder out of the old one"
    if count:
        return f"{who} removed {judged(record)}{_worst(record)}{f'; {changed}' if change else ''}."
    if change:
        return f"No image was removed; {changed}."
    if artifacts is None and whole(record) and _trained_again(record):
        return f"{who} removed no image: it changed the images, or how the new encoder was trained on them."
    return f"{name} removed nothing."


def judgement(record: Record) -> str:
    """What a detector or an encoder test said, in a sentence."""
    name, metrics = record["run"]["defense"], record["metrics"]
    if TEST_TIME not in metrics:
        return (
            f"{name}, an encoder test, gives this encoder the score {metrics['encoder']['score']:.4g}; what that means "
            "shows beside the scores of other encoders, poisoned and not, in a leaderboard."
        )
    found = metrics[TEST_TIME]
    return (
        f"{name}, a test-time detector, scored {found['clean']:,} validation images as they are and "
        f"{found['triggered']:,} others with the trigger, {1000 * pace(record):.1f} ms each: one with the trigger is "
        f"more suspicious than one without in {share(found['auroc'])} of all pairs (50 % is guessing), and "
        f"{share(found['tpr_at_1'])} of those with it are found where 1 % of the others are taken for such."
    )


def judged(record: Record) -> str:
    """How many images were removed, and how many of them are poisoned and clean."""
    found, poisoned = record["metrics"]["detection"], record["poison"]["count"]
    if not poisoned:
        return f"{counted(found['removed'], 'image')}, though none is poisoned"
    caught = round((found["recall"] or 0) * poisoned / 100)
    recall = share(found["recall"])
    text = f"{counted(found['removed'], 'image')}: {caught:,} of the {poisoned:,} poisoned (recall {recall})"
    return f"{text} and {found['removed'] - caught:,} clean (precision {share(found['precision'])})"


def _worst(record: Record) -> str:
    lost: Mapping[str, int] = record["metrics"].get("clean_removed", {})
    worst = max(lost, key=lambda name: lost[name], default=None)
    return "" if worst is None or lost[worst] < 2 else f", the most in '{worst}' ({lost[worst]:,})"


def _after(record: Record, beside: Beside) -> str:
    if only_judges(record):
        return "Nothing was removed and nothing trained again: the run ended with these scores."
    if not whole(record):
        return "The run ended with this verdict: no new encoder was trained on what is kept."
    none, defended = record["metrics"]["none"], record["metrics"]["defended"]
    if not _trained_again(record):
        return "All images were kept and the training was left as it was, so the encoder after is the encoder before."
    target = "the class of its trigger" if _several(record) else "that class"
    acc, asr = (
        f"{share(defended[part][name])} ({points(none[part][name], defended[part][name])} points)"
        for part, name in (("clean", "acc"), ("poisoned", "asr"))
    )
    text = f"On the new encoder the classifier is right on {acc} of the clean images and takes {asr} of those with the "
    text += f"trigger for {target}"
    floor = [share(_asr(each)) for each in beside.controls if each["run"]["defense"] == "clean-set"]
    if not floor:
        return f"{text}."
    text += f"; an encoder that never saw a trigger (clean-set) takes {floor[0]}"
    return f"{text}, which no defense is expected to beat."


def _noise(record: Record, beside: Beside) -> str:
    val, seed = record["dataset"]["counts"]["val"], record["run"]["seed"]
    text = f"This is one run, seed {seed}: with {counted(val, 'validation image')} chance alone moves a share by up to "
    text += f"{chance(val):.1f} points, and training again with another seed by more; "
    return f"{text}{_seeds(record, beside.seeds)}; {_controls(record, beside.controls)}."


def _seeds(record: Record, others: Sequence[Record]) -> str:
    value = _judged_value if only_judges(record) else _asr if whole(record) else _recall
    values = [value(each) for each in (record, *others)]
    known = [value for value in values if value is not None]
    if not others or len(known) < 2:
        return "no record of another seed was found to tell by how much"
    if only_judges(record):
        what = "AUROC" if TEST_TIME in record["metrics"] else "score"
        return f"over the {len(known)} seeds found, the {what} goes from {min(known):.4g} to {max(known):.4g}"
    what = "last share" if whole(record) else "recall"
    return f"over the {len(known)} seeds found, the {what} goes from {min(known):.1f} to {max(known):.1f} %"


def _asr(record: Record) -> Any:
    return record["metrics"]["defended"]["poisoned"]["asr"]


def _recall(record: Record) -> Any:
    return record["metrics"]["detection"]["recall"]


def _judged_value(record: Record) -> Any:
    metrics = record["metrics"]
    return metrics[TEST_TIME]["auroc"] if TEST_TIME in metrics else metrics["encoder"]["score"]


def _controls(record: Record, controls: Sequence[Record]) -> str:
    if record["run"].get("control"):
        return "it is itself a control, to set beside a defense"
    if only_judges(record):
        return "no control applies to scores"
    if not whole(record):
        return "what training on the kept images would give, a run to the end says"
    names = sorted({str(each["run"]["defense"]) for each in controls})
    if names:
        return f"the controls of the same seed ({', '.join(names)}) are in the table below"
    return "no control of the same seed was found, so nothing here says what removing images at random would have done"
