"""The training loop of all SSL methods. Devices, processes and precision are left to Lightning Fabric."""

from __future__ import annotations

import inspect
import json
import logging
import math
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Images, Repair, SSLMethod, TrainingDefense
from bench.data.augment import ViewSpec, draw, render
from bench.errors import BenchError, nearest
from bench.parallel.devices import open_fabric, without_fabric_warnings
from bench.parallel.nodes import NodeGroup, environment
from bench.parallel.threads import computing_with
from bench.seeds import Seeds

from . import checkpoint
from .backbone import build_encoder
from .loader import feed
from .repair import repair_learner
from .schedule import Schedule
from .settings import EncoderSettings, TrainSettings, ViewSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

StepCallback = Callable[[int, int, float, float], None]
"""Steps done, steps in all, loss and learning rate of the last one."""
CHECKPOINT_SECONDS = 15.0
_ALONE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": None, "NODE_RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": None}
"""Environment of processes that train on this machine alone, whatever a launcher of other things has set."""
ENCODER_FILE = "encoder.safetensors"
CURVE_FILE = "curve.json"
for _name in ("distributed", "rank_zero"):  # here, so that it holds in every process of a training as well
    logging.getLogger(f"lightning_fabric.utilities.{_name}").setLevel(logging.ERROR)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: all that decides its outcome, the folder for its results, and one for its checkpoint.

    threads: of the CPU, with which each of its processes computes. repair: what trains instead of the method, with the
    file of the encoder that it repairs, which `pretrain` has trained.
    """

    images: Images
    method: SSLMethod
    encoder: EncoderSettings
    views: ViewSettings
    train: TrainSettings
    threads: int
    seeds: Seeds
    work: Path
    scratch: Path
    change: TrainingDefense | None = None
    repair: tuple[Repair, Path] | None = None

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.train, len(self.images), self.seeds)


def view_specs(views: ViewSettings, size: int) -> list[ViewSpec]:
    """Two global views, then the local ones, for images of `size` px."""
    shared: dict[str, Any] = {name: getattr(views, name) for name in ("flip", "jitter", "jitter_p", "grey_p")}
    shared["size"], shared["scale"] = views.size or size, views.scale
    both = [ViewSpec(blur_p=views.blur_p[i], solarise_p=views.solarise_p[i], **shared) for i in range(2)]
    local = replace(both[1], size=views.local_size, scale=views.local_scale, solarise_p=0.0)
    return both + [local] * views.local_count


def resolve_precision(wanted: str, device: torch.device) -> str:
    """'bf16' where it is requested, or by 'auto' on a GPU that has it; else '32'.

    Never by 'auto' on a CPU: few have it, and the same seed would give another encoder on each.
    """
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32"


@without_fabric_warnings()
def pretrain(
    job: Job, report: StepCallback, devices: int = 1, accelerator: str = "auto", group: NodeGroup | None = None
) -> None:
    """Train an encoder to the end, from the checkpoint in `job.scratch` if there is one.

    Encoder and loss curve are written to `job.work`.

    Several devices: one process each on this machine (Fabric's ddp_spawn); or, with a `group`, this process is one of
    those that torchrun started, `devices` on each machine, which all call this. Only the first one's `report` is
    called. Raises BenchError for settings that cannot run and for a loss that is not finite.
    """
    world = group.count if group else devices
    job.train.per_device(world)
    fabric = make_fabric(job.train, devices, accelerator, group)
    check_sync_batchnorm(job.train, world, fabric.device)
    if group is None and devices > 1:
        with environment(_ALONE):
            _train_in_processes(fabric, job, report)
        return
    fabric.launch()
    with computing_with(job.threads):
        _train(fabric, job, report)
    if group and fabric.device.type == "cuda":
        torch.cuda.empty_cache()  # the next search is shared out over all devices of a machine, by other processes


def _train_in_processes(fabric: Fabric, job: Job, report: StepCallback) -> None:
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    failures: list[BenchError] = []
    listener = threading.Thread(target=_listen, args=(queue, report, failures), daemon=True)
    listener.start()
    try:
        try:
            # As an argument of its own, Fabric would try to walk through the job, and refuse a frozen dataclass.
            fabric.launch(partial(_train_apart, job=job, queue=queue))
        finally:
            queue.put(None)
            listener.join()
    except Exception as error:
        if failures:
            raise failures[0] from error
        raise


def check_sync_batchnorm(train: TrainSettings, world: int, device: torch.device) -> None:
    """Raises BenchError where batch normalisation is to take its statistics over several devices that cannot: torch has
    this for GPUs only. world: how many devices."""
    if train.sync_batchnorm and world > 1 and device.type != "cuda":
        raise BenchError(
            f"train.sync_batchnorm is for GPUs: torch cannot normalise over {world} devices of kind {device.type!r}. "
            "Leave it out, or train on one device"
        )


def make_fabric(train: TrainSettings, devices: int, accelerator: str, group: NodeGroup | None = None) -> Fabric:
    """Fabric for this machine, with the precision that its first device is best at. Raises as `open_fabric` does."""
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    probe = open_fabric(accelerator=accelerator, devices=1)
    precision: Any = {"bf16": "bf16-mixed", "32": "32-true"}[resolve_precision(str(train.precision), probe.device)]
    options: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "precision": precision}
    if group:
        options |= {"num_nodes": group.count // devices, "plugins": [TorchElasticEnvironment()]}
        options["strategy"] = DDPStrategy(timeout=timedelta(seconds=group.timeout))
    elif devices > 1:
        options["strategy"] = DDPStrategy(start_method="spawn")
    return open_fabric(**options)


def _listen(queue: Any, report: StepCallback, failures: list[BenchError]) -> None:
    """Pass on what a process of the training sends, until None comes: its steps, or the error that ended it."""
    while (message := queue.get()) is not None:
        if isinstance(message, BenchError):
            failures.append(message)
        else:
            report(*message)


def _train_apart(fabric: Fabric, job: Job, queue: Any) -> None:
    """In a process of its own: torch hands the parent only the text of an exception, so ours is sent."""
    _end_with_parent()
    try:
        with computing_with(job.threads):
            _train(fabric, job, lambda *step: queue.put(step))
    except BenchError as error:
        queue.put(error)
        raise


def _end_with_parent() -> None:
    """End when the process that started this one is killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make_learner(job: Job) -> nn.Module:
    """The freshly initialised learner; torch's default generator is seeded for it and then put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seeds.child("init").value)
        backbone, dim = build_encoder(job.encoder, job.images.size)
        if job.encoder.freeze_patch_embed:  # MoCo-v3, section 4: it steadies the training of a ViT
            if not hasattr(backbone, "patch_embed"):
                raise BenchError("encoder.freeze_patch_embed is for transformers; this backbone has no patch_embed")
            backbone.patch_embed.requires_grad_(False)
        learner: nn.Module
        if job.repair:
            learner = repair_learner(*job.repair, backbone, dim, job.encoder, job.images.size, job.method)
        else:
            learner = job.method.learner(backbone, dim)
    if job.change and "mixed" not in inspect.signature(learner.forward).parameters:
        raise BenchError(
            f"SSL method {job.method.name!r} cannot train with {job.change.name!r}: it takes no mixed views"
        )
    return learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def make_optimiser(learner: nn.Module, train: TrainSettings) -> torch.optim.Optimizer:
    """timm's optimiser of that name over the parameters that learn; weight decay on all of them, as in MoCo-v3."""
    from timm.optim import create_optimizer_v2, list_optimizers

    learning = [p for p in learner.parameters() if p.requires_grad]
    made: torch.optim.Optimizer
    try:
        made = create_optimizer_v2(learning, opt=train.optimiser, lr=train.lr, weight_decay=train.weight_decay)
    except (ValueError, AssertionError, KeyError) as error:
        hint = nearest(train.optimiser, [str(name) for name in list_optimizers()])
        raise BenchError(f"timm cannot make the optimiser {train.optimiser!r} ({error}).{hint}") from error
    return made


def _train(fabric: Fabric, job: Job, report: StepCallback) -> None:
    warnings.filterwarnings("ignore", message=".*all_gather is deprecated")  # by torch, to Fabric
    plan = job.schedule
    specs = [replace(spec, **job.encoder.normalisation) for spec in view_specs(job.views, job.images.size)]
    # Moved before the checkpoint is loaded: the optimiser's state goes to where the parameters are.
    learner = make_learner(job).to(fabric.device)
    learner.gather, learner.rank = _gatherer(fabric), fabric.global_rank  # type: ignore[assignment]
    if job.train.sync_batchnorm and fabric.world_size > 1:
        learner = synchronised(learner)
    optimiser = make_optimiser(learner, job.train)
    saved = job.scratch / "checkpoint.safetensors"
    losses = checkpoint.load(saved, learner, optimiser)
    model, optimiser = fabric.setup(learner, optimiser)
    _check_same_start(fabric, len(losses))
    share = job.train.per_device(fabric.world_size)
    rows = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    batches = (plan.indices(step)[rows] for step in range(len(losses), plan.steps))
    kept = time.monotonic()
    for step, images in enumerate(feed(job.images, batches, fabric.device, job.train.loader_workers), len(losses)):
        for group in optimiser.param_groups:
            group["lr"] = plan.lr(step)
        views = make_views(images, specs, job, step, rows)
        mixed = job.change.mix(views, job.seeds.child("change", step, fabric.global_rank)) if job.change else None
        loss = model(views) if mixed is None else model(views, mixed)
        fabric.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        learner.after_step(plan.fraction(step + 1))  # type: ignore[operator]
        losses.append(float(cast("Tensor", fabric.all_reduce(loss.detach()))))
        if not math.isfinite(losses[-1]):
            much = "a lower train.lr or train.precision = '32' may help"
            raise BenchError(f"the training loss became {losses[-1]}; {much}")
        if fabric.is_global_zero:
            report(step + 1, plan.steps, losses[-1], plan.lr(step))
            if time.monotonic() - kept > CHECKPOINT_SECONDS:
                checkpoint.save(saved, learner, optimiser, losses)
                kept = time.monotonic()
    if fabric.is_global_zero:
        _finish(job, learner, losses, plan.steps_per_epoch)


def synchronised(learner: nn.Module) -> nn.Module:
    """The learner, its batch normalisations taking their statistics over all devices (parameters and their names stay).

    timm's conversion is torch's (SyncBatchNorm.convert_sync_batchnorm), and keeps what timm's own layers do besides.
    """
    from timm.layers import convert_sync_batchnorm

    converted: nn.Module = convert_sync_batchnorm(learner)
    return converted


def _check_same_start(fabric: Fabric, step: int) -> None:
    """Raises BenchError where not all processes resume from the same checkpoint."""
    if fabric.world_size > 1:
        steps: list[int] = cast("Tensor", fabric.all_gather(torch.tensor(step, device=fabric.device))).tolist()
        if len(set(steps)) > 1:
            raise BenchError(
                f"the processes of this training found checkpoints of different steps ({', '.join(map(str, steps))}): "
                "the store must lie on a file system that all nodes share"
            )


def make_views(images: Tensor, specs: list[ViewSpec], job: Job, step: int, rows: slice) -> list[Tensor]:
    """The views of this process's rows of the global batch; drawn for all rows, so the split changes nothing."""
    views = []
    for number, spec in enumerate(specs):
        generator = job.seeds.child("views", step, number).torch()
        draws = {name: value[rows] for name, value in draw(spec, job.train.batch, generator).items()}
        views.append(render(images, spec, draws).contiguous(memory_format=torch.channels_last))
    return views


def _gatherer(fabric: Fabric) -> Callable[[Tensor], Tensor]:
    if fabric.world_size == 1:
        return lambda keys: keys
    return lambda keys: cast("Tensor", fabric.all_gather(keys)).flatten(0, 1)


def _finish(job: Job, learner: nn.Module, losses: list[float], per_epoch: int) -> None:
    from safetensors.torch import save_file

    backbone: nn.Module = learner.backbone  # type: ignore[assignment]
    save_file({k: v.detach().cpu().contiguous() for k, v in backbone.state_dict().items()}, job.work / ENCODER_FILE)
    epochs = [float(np.mean(losses[i : i + per_epoch])) for i in range(0, len(losses), per_epoch)]
    (job.work / CURVE_FILE).write_text(json.dumps({"loss_per_epoch": epochs}))
