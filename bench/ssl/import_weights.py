"""Import an encoder trained elsewhere as the threat model: its checkpoint is fitted into our backbone, or refused.

Layouts: timm; torchvision (ResNets, ViTs); our own encoder.safetensors; and what WRAPPERS, PREFIXES and BESIDES say:
moco-v3 and PatchSearch, MoCo v1/v2 and the ResNets of SSL backdoor studies, DINO and DINOv2, lightly, solo-learn, BYOL,
torch.compile, DataParallel. Nothing is unpickled but tensors and plain values (torch's weights_only).

What keys do not show must be given by the caller: moco-v3's ViT-S has 12 heads where timm's has 6
(`encoder.options.num_heads=12`), and the images that it was trained on should carry the attack's trigger.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .settings import EncoderSettings

log = logging.getLogger(__name__)
Tensors = dict[str, "Tensor"]

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "teacher",
    "student",
    "online_network_state_dict",
    "network",
    "net",
)
"""Under what a file keeps its tensors, at any depth; the first that is there. Of DINO's two networks its teacher is the
one that its authors evaluate."""
WRAPS = ("module.", "_orig_mod.")
"""What stands before all keys of a network in DataParallel or torch.compile."""
PREFIXES = (
    *("base_encoder.", "encoder_q.", "online_encoder.", "online_network."),  # moco-v3, MoCo v1/v2, BYOL twice
    *("teacher_backbone.", "student_backbone.", "teacher.", "student."),  # DINO in lightly; DINOv2's whole training
    *("backbone.", "encoder.", "model.", "net.", "network."),  # SimSiam, lightly, solo-learn, any wrapping class
    *WRAPS,
)
"""What stands before an encoder's keys; of several the first, so the network that learns goes before its slow copy."""
BESIDES = re.compile(
    r"((momentum|target|teacher|student|key|ema)_?(encoder|network|backbone|projector|predictor|classifier|head|model)?"
    r"|(encoder|net)_k|(backbone|projector|projection_head)_(momentum|ema|teacher|target)"
    r"|(online_)?(predictor|projector|classifier)|net|(projection|prediction|dino|ibot)_head|queue|queue_ptr)(\.|$)"
)
"""Keys of what stands beside the encoder in a checkpoint of a whole SSL method."""
HEADS = re.compile(
    r"(head|heads|head_dist|fc|classifier|projector|projection|projection_head|predictor|dino_head|ibot_head)\.|mask_token$"
)
"""Keys of layers after the encoder, and of the token that only masked training uses."""
SHAPES = "of another shape in the file"
KINDS = "of a kind that is no plain float weight"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file and the SHA-256 of its bytes."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Checkpoint:
        """The file at `path`, hashed. Raises BenchError where it cannot be read."""
        try:
            found = path.stat()
            fault = "" if stat.S_ISREG(found.st_mode) else "no regular file"
            if found.st_size and not fault:
                with path.open("rb") as file:
                    return cls(path=path, sha256=hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            fault = error.strerror or str(error)
        raise BenchError(
            f"--threat-checkpoint {path}: {fault or 'the file is empty'}. Expected a file with an encoder's weights "
            "(safetensors, or saved by torch)."
        )

    @property
    def facts(self) -> dict[str, str]:
        """For the record: the file name, and the SHA-256 of the file."""
        return {"checkpoint": self.path.name, "sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a checkpoint's keys and an encoder's go together.

    tensors: under the encoder's names. dropped: keys of heads and other encoders. misfits: the rest, by what is wrong.
    """

    tensors: Tensors
    dropped: list[str]
    misfits: dict[str, list[str]]

    @property
    def fits(self) -> bool:
        return not any(self.misfits.values())


def import_encoder(path: Path, settings: EncoderSettings, size: int) -> tuple[Tensors, list[str]]:
    """The encoder of the checkpoint at `path` under our backbone's names, and the keys that were left out.

    size: width of the images, px. Raises BenchError naming every key that does not fit.
    """
    import torch

    from .backbone import build_encoder

    with torch.random.fork_rng(devices=[]):
        module, _ = build_encoder(settings, size)
    found = read_tensors(path)
    own = module.state_dict()
    fit = match(found, own)
    faults = {name: _kind(value, own[name]) for name, value in fit.tensors.items()}
    fit.misfits[KINDS] = [f"{name} ({fault})" for name, fault in faults.items() if fault]
    place = f"--threat-checkpoint {path}"
    if reason := _other_size(fit, module, size):
        raise BenchError(f"{place}: {reason}")
    if not fit.fits:
        kinds = {**fit.misfits, "left out (heads, other encoders)": fit.dropped}
        lines = [f"\n- {what} ({len(keys)}): {', '.join(keys)}" for what, keys in kinds.items() if keys]
        raise BenchError(
            f"{place} does not fit backbone {settings.backbone!r} at {size} px:{''.join(lines)}\n"
            "Another encoder.backbone, encoder.options or encoder.stem?"
        )
    if fit.dropped:
        log.warning("%s: %d keys are left out: %s", path.name, len(fit.dropped), ", ".join(fit.dropped))
    module.load_state_dict(fit.tensors, strict=False)  # what is not in it are counters only, see match()
    return {name: value.contiguous() for name, value in module.state_dict().items()}, fit.dropped


# --- reading --------------------------------------------------------------------------------------


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, or of a torch file and within it of `state_dict` or the like."""
    import torch

    content = _load(path)
    while isinstance(content, Mapping) and (inner := _wrapped(content)) is not None:
        content = inner
    if not isinstance(content, Mapping):
        got = f"a {type(content).__name__}"
    elif content and all(isinstance(value, torch.Tensor) for value in content.values()):
        return {str(name): value for name, value in content.items()}
    else:
        got = f"the keys {', '.join(map(str, list(content)[:10]))}" if content else "nothing"
    raise BenchError(f"--threat-checkpoint {path} holds {got}; expected named tensors, alone or under {WRAPPERS[0]!r}.")


def _wrapped(content: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    return next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)


def _load(path: Path) -> Any:
    import pickle

    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BenchError(
            f"--threat-checkpoint {path} holds more than tensors and plain values, or is no checkpoint; it is not "
            "unpickled, as that could run code. If you trust it, save its weights alone: "
            f"torch.save(checkpoint['state_dict'], FILE). ({str(error).splitlines()[0]})"
        ) from None
    except Exception as error:  # on broken files torch raises nearly everything
        raise BenchError(
            f"--threat-checkpoint {path} is no checkpoint that can be read ({type(error).__name__}: {error}). Expected "
            "a safetensors file (FILE.safetensors), or one that torch.save wrote."
        ) from None


# --- matching -------------------------------------------------------------------------------------


def match(found: Tensors, own: Mapping[str, Tensor]) -> Fit:
    """Fit a checkpoint's tensors to an encoder's own (name -> tensor of the right shape).

    Dropped are heads and other encoders only; batch norms' counters may be missing (torch before 0.4.1 kept none).
    """
    tensors, outside = _bare(found, own)
    if _is_torchvision_vit(tensors):
        tensors = {_timm_name(name): value for name, value in tensors.items()}
    elif _is_sequential_resnet(tensors):
        tensors = {_resnet_name(name): value for name, value in tensors.items()}
    taken = {name: value for name, value in tensors.items() if name in own}
    left = [*outside, *(name for name in tensors if name not in own)]
    extra = {name for name in left if HEADS.match(name) or (name in outside and BESIDES.match(name))}
    return Fit(
        tensors=taken,
        dropped=[name for name in left if name in extra],
        misfits={
            "missing in the file": [
                name for name in own if name not in taken and not name.endswith("num_batches_tracked")
            ],
            "in the file, but not in the encoder": [name for name in left if name not in extra],
            SHAPES: [
                f"{name} {tuple(value.shape)}, expected {tuple(own[name].shape)}"
                for name, value in taken.items()
                if value.shape != own[name].shape
            ],
        },
    )


def _bare(tensors: Tensors, own: Mapping[str, Tensor]) -> tuple[Tensors, list[str]]:
    """The tensors below the prefixes, without these; and the keys that stood outside of them."""
    outside: list[str] = []
    while prefix := _prefix(tensors, own):
        outside += [name for name in tensors if not name.startswith(prefix)]
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return tensors, outside


def _prefix(tensors: Tensors, own: Mapping[str, Tensor]) -> str | None:
    """The outermost prefix, if there is one to take away: one of WRAPS before all keys, or of PREFIXES before some."""
    for prefix in WRAPS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return prefix
    if _is_torchvision_vit(tensors) or any(name in own for name in tensors):
        return None
    return next((prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in tensors)), None)


def _kind(value: Tensor, own: Tensor) -> str:
    """What keeps `value` from being the encoder's weight `own`; "" where nothing does."""
    import torch

    if value.is_meta:
        return "meta: no values"
    if value.is_quantized or value.layout != torch.strided:
        return "quantised" if value.is_quantized else str(value.layout).removeprefix("torch.")
    if own.is_floating_point() != value.is_floating_point() or value.dtype == torch.bool:
        return str(value.dtype).removeprefix("torch.")
    return ""


def _is_torchvision_vit(tensors: Tensors) -> bool:
    return "encoder.pos_embedding" in tensors and "conv_proj.weight" in tensors


_VIT = (
    (r"class_token", "cls_token"),
    (r"conv_proj\.(.+)", r"patch_embed.proj.\1"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"encoder\.ln\.(.+)", r"norm.\1"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(.+)", r"blocks.\1.norm\2.\3"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(.+)", r"blocks.\1.attn.proj.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(.+)", r"blocks.\1.mlp.fc2.\2"),
)
"""torchvision's names of a ViT's parts -> timm's. (A ResNet's are the same.)"""


def _timm_name(name: str) -> str:
    """timm's name for torchvision's name of a part of a ViT; the name itself where there is none."""
    matches = ((re.fullmatch(pattern, name), timm_name) for pattern, timm_name in _VIT)
    return next((found.expand(timm_name) for found, timm_name in matches if found), name)


_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4", "9": "fc"}
"""Places of a ResNet's parts in Sequential(*resnet.children()), which lightly's examples and many others save."""


def _is_sequential_resnet(tensors: Tensors) -> bool:
    return "0.weight" in tensors and "4.0.conv1.weight" in tensors


def _resnet_name(name: str) -> str:
    place, _, rest = name.partition(".")
    return f"{_CHILDREN.get(place, place)}.{rest}"


# --- saying what does not fit ---------------------------------------------------------------------


def _other_size(fit: Fit, module: nn.Module, size: int) -> str | None:
    """Why the position embedding does not fit, where all other keys do: the encoder is for images of another size."""
    given, own = fit.tensors.get("pos_embed"), module.state_dict().get("pos_embed")
    patch: Any = getattr(getattr(module, "patch_embed", None), "patch_size", None)
    if given is None or own is None or patch is None or given.dim() != 3 or given.shape[2] != own.shape[2]:
        return None
    if given.shape == own.shape or sum(map(len, fit.misfits.values())) > 1:
        return None
    side = math.isqrt(given.shape[1])  # class tokens are fewer than the next square is away
    pixels = side * patch[0]
    return (
        f"its position embedding {tuple(given.shape)} is for {side} x {side} patches, images of {pixels} px; the "
        f"dataset's images are of {size} px ({tuple(own.shape)}). Use dataset.size={pixels}, or an encoder trained at "
        f"{size} px."
    )
