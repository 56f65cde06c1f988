"""The stage of a control: what a row that sees the truth keeps."""

from __future__ import annotations

from collections.abc import Callable

from bench.api import Control, Truth, Verdict
from bench.config.config import Config
from bench.data.manifest import Manifest
from bench.isolation.verdict import check_verdict, write_verdict
from bench.plugins.identity import identity
from bench.store import ArtifactBuilder

from .stage import ProgressReport, Stage


def control_stage(
    config: Config,
    control: Control,
    manifest: Callable[[], Manifest],
    reference: Callable[[], Verdict] | None,
    inputs: dict[str, str],
) -> Stage:
    """What a control keeps, in the form of a verdict. Nothing else between poison and metrics sees the truth."""

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        poisoned = manifest().poisoned
        truth = Truth(poisoned=poisoned, reference_keep=reference().keep if reference else None)
        keep = control.keep(truth, config.seeds.child("control"))
        write_verdict(check_verdict(Verdict(keep=keep), len(poisoned), 0, control.name), making.dir)

    return Stage(
        name="control",
        title=f"choose the images ({control.name}, a control)",
        config={"control": identity(control), "seed": config.seed},
        inputs=inputs,
        make=make,
    )
