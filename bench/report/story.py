"""A run in five sentences, each made from its numbers; the last says how little one run can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.record import Record
from bench.report.terminal import share

from .controls import Beside
from .removed import Removed

STRONG, WEAK = 50.0, 20.0  # points of ASR that a trigger adds; our words for them


@dataclass(frozen=True, kw_only=True)
class Played:
    """What the record alone does not say: a change of the training by name, whether the new encoder saw unpoisoned
    images, and whether there was a second training at all."""

    change: str | None
    unpoisoned: bool
    trained_again: bool


def story(record: Record, beside: Beside, removed: Removed, played: Played) -> list[str]:
    """Five sentences of plain text."""
    return [
        _planted(record),
        _threat(record),
        _defended(record, removed, played),
        _after(record, beside, played),
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


def many(count: int, one: str, several: str | None = None) -> str:
    """'1 image', '2,000 images'."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _targets(record: Record) -> str:
    names = [f"'{name}'" for name in _names(record)]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"


def _names(record: Record) -> list[str]:
    return list(record["poison"]["targets"]) or ["the target class"]


def _several(record: Record) -> bool:
    return len(_names(record)) > 1


def _planted(record: Record) -> str:
    poison, total = record["poison"], record["dataset"]["counts"]["train"]
    plain = f"In {poison['count']:,} of the {total:,} training images ({share(poison['rate_of_dataset'])}; "
    plain += f"{share(poison['rate_of_target'])} of the images of {_targets(record)}) the attack "
    plain += f"{record['run']['attack']} planted "
    if _several(record):
        return plain + f"one of {len(_names(record))} triggers, so that an encoder learns to tie each to its class."
    return plain + "a trigger, so that an encoder trained on them without labels ties the trigger to that class."


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


def _defended(record: Record, removed: Removed, played: Played) -> str:
    name, control = record["run"]["defense"], record["run"].get("control")
    who = f"{name}, a control and no defense," if control else name
    if played.unpoisoned:
        return f"{who} removed nothing: the new encoder was trained on the same images without any trigger."
    count = record["metrics"]["detection"]["removed"]
    change = f"{played.change} changed how the new encoder was trained" if played.change else ""
    if not count:
        nothing = f"{name} removed nothing"
        return f"{nothing}." if not change else f"No image was removed; {change}."
    return f"{who} removed {_judged(record, removed)}{f'; {change}' if change else ''}."


def _judged(record: Record, removed: Removed) -> str:
    found, poisoned = record["metrics"]["detection"], record["poison"]["count"]
    clean = sum(row.clean_removed for row in removed.rows)
    caught = found["removed"] - clean
    told = f"all {poisoned:,}" if caught == poisoned else f"{caught:,} of the {poisoned:,}"
    text = f"{many(found['removed'], 'image')}: {told} poisoned (recall {share(found['recall'])})"
    text += f" and {clean:,} clean (precision {share(found['precision'])})"
    worst = max(removed.rows, key=lambda row: row.clean_removed)
    return text + (
        f", the most in '{worst.name}' ({worst.clean_removed:,} of {many(worst.clean, 'clean image')})"
        if worst.clean_removed > 1
        else ""
    )


def _after(record: Record, beside: Beside, played: Played) -> str:
    none, defended = record["metrics"]["none"], record["metrics"]["defended"]
    if not played.trained_again:
        return "All images were kept and the training was left as it was, so the encoder after is the encoder before."
    target = "the class of its trigger" if _several(record) else "that class"
    acc = f"{share(defended['clean']['acc'])} ({points(none['clean']['acc'], defended['clean']['acc'])} points)"
    asr = (
        f"{share(defended['poisoned']['asr'])} ({points(none['poisoned']['asr'], defended['poisoned']['asr'])} points)"
    )
    text = f"On the new encoder the classifier is right on {acc} of the clean images and takes {asr} of those with the "
    text += f"trigger for {target}"
    floor = [each for each in beside.controls if each["run"]["defense"] == "clean-set"]
    if not floor:
        return f"{text}."
    there = share(floor[0]["metrics"]["defended"]["poisoned"]["asr"])
    return (
        f"{text}; an encoder that never saw a trigger (clean-set) takes {there}, which no defense is expected to beat."
    )


def _noise(record: Record, beside: Beside) -> str:
    val, seed = record["dataset"]["counts"]["val"], record["run"]["seed"]
    text = f"This is one run, seed {seed}: with {many(val, 'validation image')} chance alone moves a share by up to "
    text += f"{chance(val):.1f} points, and training again with another seed by more; "
    return f"{text}{_seeds(record, beside.seeds)}; {_controls(record, beside.controls)}."


def _seeds(record: Record, others: Sequence[Record]) -> str:
    asr = [_asr(each) for each in (record, *others)]
    known = [value for value in asr if value is not None]
    if not others or len(known) < 2:
        return "no record of another seed was found to tell by how much"
    return f"over the {len(known)} seeds found, the last share goes from {min(known):.1f} to {max(known):.1f} %"


def _asr(record: Record) -> Any:
    return record["metrics"]["defended"]["poisoned"]["asr"]


def _controls(record: Record, controls: Sequence[Record]) -> str:
    if record["run"].get("control"):
        return "it is itself a control, to set beside a defense"
    names = sorted({str(each["run"]["defense"]) for each in controls})
    if names:
        return f"the controls of the same seed ({', '.join(names)}) are in the table below"
    return "no control of the same seed was found, so nothing here says what removing images at random would have done"
