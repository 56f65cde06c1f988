"""Checkpoints of other projects become our backbone, feature for feature; what does not fit is named, all of it."""

import argparse
import dataclasses
import hashlib
import logging

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from bench.errors import BenchError
from bench.ssl.backbone import build_encoder
from bench.ssl.import_weights import Checkpoint, import_encoder, match
from bench.ssl.settings import EncoderSettings

SIZE = 32
RESNET = EncoderSettings(backbone="resnet18", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]})
VIT = EncoderSettings(
    backbone="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
)
TORCHVISION_RESNET = EncoderSettings(backbone="resnet18")
SETTINGS = {"resnet": RESNET, "vit": VIT, "moco-v3's vit": dataclasses.replace(VIT, vit="moco-v3")}


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


def module_of(settings, size=SIZE):
    """An encoder with every tensor random (the running means, too)."""
    module, _ = build_encoder(settings, size)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if "running_var" in name else torch.randn_like(value) * 0.2)
    return module.eval()


def features(settings, tensors, size=SIZE):
    module = module_of(settings, size)
    module.load_state_dict(tensors)
    return module(images(size)).detach()


def images(size=SIZE):
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


def prefixed(prefix, tensors):
    return {prefix + name: value for name, value in tensors.items()}


def mlp(prefix, layers):
    return {f"{prefix}.{layer}.weight": torch.randn(4, 4) for layer in layers}


def slow(tensors):
    """What is beside the encoder that is wanted: other values under the same names."""
    return {name: value + 1 for name, value in tensors.items()}


def moco(tensors, head, names, layers, **beside):
    """A checkpoint of a whole SSL method: the encoder that learns, and its slow copy, under `names`."""
    both = zip(names, (tensors, slow(tensors)), strict=True)
    parts = [prefixed(f"{name}.", {**each, **mlp(head, layers)}) for name, each in both]
    state = prefixed("module.", {**parts[0], **parts[1], **beside})
    return {"epoch": 200, "arch": "x", "state_dict": state, "optimizer": {"state": {}}}


def moco_v3(tensors, head):
    """moco-v3's layout, which PatchSearch writes, too: head is 'head' (ViT) or 'fc' (ResNet)."""
    layers = (0, 1, 3)
    return moco(tensors, head, ("base_encoder", "momentum_encoder"), layers, **mlp("predictor", layers))


def moco_v2(tensors, head):
    """The layout of MoCo v2 and of the ResNets in studies of SSL backdoors."""
    queue = {"queue": torch.zeros(4, 8), "queue_ptr": torch.zeros(1, dtype=torch.long)}
    return moco(tensors, head, ("encoder_q", "encoder_k"), (0, 2), **queue)


LAYOUTS = {
    "ours": lambda tensors, head: tensors,
    "timm": lambda tensors, head: {**tensors, f"{head}.weight": torch.zeros(10, 4), f"{head}.bias": torch.zeros(10)},
    "ddp": lambda tensors, head: {"model": prefixed("module.", tensors)},
    "moco_v3": moco_v3,
    "moco_v2": moco_v2,
    "simsiam": lambda tensors, head: {
        "state_dict": prefixed("module.", {**prefixed("encoder.", tensors), **mlp("predictor", (0, 3))})
    },
    "net": lambda tensors, head: {"epoch": 3, "model": prefixed("net.", tensors)},
    "compiled": lambda tensors, head: prefixed("_orig_mod.", tensors),
    "compiled, in ddp": lambda tensors, head: {"state_dict": prefixed("module._orig_mod.", tensors)},
    "ddp, then compiled": lambda tensors, head: {"state_dict": prefixed("_orig_mod.module.", tensors)},
    "compiled inside": lambda tensors, head: {
        "state_dict": {**prefixed("backbone._orig_mod.", tensors), **mlp("projector", (0, 2))}
    },
    "dino": lambda tensors, head: {
        "student": prefixed("module.", {**prefixed("backbone.", slow(tensors)), **mlp("head.mlp", (0, 2))}),
        "teacher": {**prefixed("backbone.", tensors), **mlp("head.mlp", (0, 2))},
        "dino_loss": {"center": torch.zeros(1, 4)},
        "epoch": 100,
    },
    "dinov2's teacher": lambda tensors, head: {
        "teacher": {
            **prefixed("backbone.", {**tensors, "mask_token": torch.zeros(1, 4)}),
            **mlp("dino_head.mlp", (0, 2)),
            **mlp("ibot_head.mlp", (0, 2)),
        }
    },
    "dinov2's training": lambda tensors, head: {
        "model": {
            **prefixed("student.backbone.", slow(tensors)),
            **prefixed("teacher.backbone.", tensors),
            **mlp("teacher.dino_head.mlp", (0, 2)),
            **mlp("student.dino_head.mlp", (0, 2)),
        },
        "optimizer": {"state": {}},
    },
    "student alone": lambda tensors, head: {"student": prefixed("backbone.", tensors), "epoch": 1},
    "lightly": lambda tensors, head: {
        "state_dict": {**prefixed("backbone.", tensors), **mlp("projection_head.layers", (0, 3))}
    },
    "lightly's byol": lambda tensors, head: {
        "state_dict": {
            **prefixed("backbone_momentum.", slow(tensors)),
            **prefixed("backbone.", tensors),
            **mlp("projection_head.layers", (0, 3)),
            **mlp("projection_head_momentum.layers", (0, 3)),
            **mlp("prediction_head.layers", (0, 3)),
        }
    },
    "lightly's dino": lambda tensors, head: {
        "state_dict": {
            **prefixed("student_backbone.", slow(tensors)),
            **prefixed("teacher_backbone.", tensors),
            **mlp("student_head.layers", (0, 3)),
            **mlp("teacher_head.layers", (0, 3)),
        }
    },
    "byol": lambda tensors, head: {
        **prefixed("target_encoder.", slow(tensors)),
        **prefixed("online_encoder.", tensors),
        **mlp("online_projector", (0, 3)),
        **mlp("target_projector", (0, 3)),
        **mlp("predictor", (0, 3)),
    },
    "byol, the net inside": lambda tensors, head: {
        **prefixed("net.", tensors),
        **prefixed("online_encoder.net.", tensors),
        **mlp("online_encoder.projector", (0, 3)),
        **prefixed("target_encoder.net.", slow(tensors)),
        **mlp("target_encoder.projector", (0, 3)),
        **mlp("online_predictor", (0, 3)),
    },
    "byol, online_network": lambda tensors, head: {
        "state_dict": {
            **prefixed("target_network.", slow(tensors)),
            **prefixed("online_network.encoder.", tensors),
            **mlp("online_network.projector", (0, 3)),
        }
    },
    "byol, two dictionaries": lambda tensors, head: {
        "online_network_state_dict": {**prefixed("encoder.", tensors), **mlp("projection", (0, 3))},
        "target_network_state_dict": {**prefixed("encoder.", slow(tensors)), **mlp("projection", (0, 3))},
    },
    "solo-learn": lambda tensors, head: {
        "state_dict": {
            **prefixed("momentum_backbone.", slow(tensors)),
            **prefixed("backbone.", tensors),
            **mlp("projector", (0, 3)),
            **mlp("momentum_projector", (0, 3)),
            "classifier.weight": torch.zeros(10, 4),
            "momentum_classifier.weight": torch.zeros(10, 4),
            "queue": torch.zeros(2, 4),
        }
    },
}
WHOLE = {"ours", "ddp", "net", "compiled", "compiled, in ddp", "ddp, then compiled", "student alone"}
"""Layouts that hold the encoder and nothing else."""


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_features(tmp_path, layout, kind):
    settings, head = SETTINGS[kind], {"resnet": "fc"}.get(kind, "head")
    module = module_of(settings)
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(LAYOUTS[layout](module.state_dict(), head), path)
    tensors, dropped = import_encoder(path, settings, SIZE)
    assert torch.equal(features(settings, tensors), module(images()))
    assert (len(dropped) > 0) == (layout not in WHOLE)


def test_a_resnet_that_was_cut_into_its_children(tmp_path):
    """Sequential(*resnet.children()) without the last, as in lightly's examples: keys by place."""
    module = module_of(RESNET)
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    named = [(name.partition("."), value) for name, value in module.state_dict().items()]
    state = {f"backbone.{places[part]}.{rest}": value for (part, _, rest), value in named}
    torch.save({"state_dict": {**state, **mlp("projection_head.layers", (0, 3))}}, tmp_path / "c.ckpt")
    tensors, _ = import_encoder(tmp_path / "c.ckpt", RESNET, SIZE)
    assert torch.equal(features(RESNET, tensors), module(images()))


def _meta(value):
    return value.to("meta")


def _quantised(value):
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_meta, "meta: no values"),
        (lambda value: value.to_sparse(), "sparse_coo"),
        (_quantised, "quantised"),
        (lambda value: value.to(torch.complex64), "complex64"),
        (lambda value: value.to(torch.int8), "int8"),
        (lambda value: value > 0, "bool"),
    ],
)
@pytest.mark.filterwarnings("ignore:TypedStorage", "ignore:Validating sparse", "ignore:.*quantiz", "ignore:.*quantis")
def test_weights_that_are_no_floats_in_memory_are_refused_by_name(tmp_path, change, said):
    tensors = module_of(RESNET).state_dict()
    torch.save({**tensors, "conv1.weight": change(tensors["conv1.weight"])}, tmp_path / "c.pth")
    with pytest.raises(BenchError) as error:
        import_encoder(tmp_path / "c.pth", RESNET, SIZE)
    assert f"- of a kind that is no plain float weight (1): conv1.weight ({said})\n" in str(error.value)
    torch.save({**tensors, "fc.weight": change(tensors["conv1.weight"])}, tmp_path / "c.pth")
    assert import_encoder(tmp_path / "c.pth", RESNET, SIZE)[1] == ["fc.weight"], "of a head it does not matter"


def test_our_own_file_and_one_in_half_precision(tmp_path):
    module = module_of(RESNET)
    save_file(module.state_dict(), tmp_path / "encoder.safetensors")
    tensors, dropped = import_encoder(tmp_path / "encoder.safetensors", RESNET, SIZE)
    assert dropped == []
    assert tensors.keys() == module.state_dict().keys()
    assert torch.equal(features(RESNET, tensors), module(images()))
    torch.save(module.half().state_dict(), tmp_path / "half.pt")
    tensors, _ = import_encoder(tmp_path / "half.pt", RESNET, SIZE)
    assert tensors["conv1.weight"].dtype == torch.float32
    assert torch.equal(tensors["conv1.weight"], module.conv1.weight.float())


def test_torchvisions_resnet(tmp_path):
    module = torchvision.models.resnet18().eval()
    torch.save(module.state_dict(), tmp_path / "r.pth")
    tensors, dropped = import_encoder(tmp_path / "r.pth", TORCHVISION_RESNET, SIZE)
    assert dropped == ["fc.weight", "fc.bias"]
    module.fc = torch.nn.Identity()
    torch.testing.assert_close(features(TORCHVISION_RESNET, tensors), module(images()))


@pytest.mark.parametrize("old_names", [False, True])
def test_torchvisions_vit(tmp_path, old_names):
    module = torchvision.models.VisionTransformer(SIZE, 8, 2, 3, 24, 96, num_classes=5).eval()
    state = module.state_dict()
    if old_names:
        state = {k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v for k, v in state.items()}
    torch.save(state, tmp_path / "v.pth")
    tensors, dropped = import_encoder(tmp_path / "v.pth", VIT, SIZE)
    assert dropped == ["heads.head.weight", "heads.head.bias"]
    module.heads = torch.nn.Identity()
    torch.testing.assert_close(features(VIT, tensors), module(images()), atol=1e-5, rtol=1e-5)


def test_the_names_of_torchvisions_own_vit_b_16_are_all_known():
    own = timm.create_model("vit_base_patch16_224", num_classes=0, img_size=224).state_dict()
    with torch.device("meta"):
        other = torchvision.models.vit_b_16().state_dict()
    fit = match(dict(other), own)
    assert fit.fits
    assert fit.dropped == ["heads.head.weight", "heads.head.bias"]


def test_what_is_left_out_is_reported_and_what_is_unknown_refused(tmp_path, caplog):
    torch.save(moco_v3(module_of(VIT).state_dict(), "head"), tmp_path / "c.pth")
    with caplog.at_level(logging.WARNING, "bench"):
        _, dropped = import_encoder(tmp_path / "c.pth", VIT, SIZE)
    assert len(dropped) == len(set(dropped))
    assert all(name in caplog.text for name in dropped)
    assert {"head.0.weight", "predictor.3.weight", "momentum_encoder.cls_token"} <= set(dropped)
    checkpoint = moco_v3(module_of(VIT).state_dict(), "head")
    checkpoint["state_dict"]["module.decoder.weight"] = torch.zeros(1)
    torch.save(checkpoint, tmp_path / "c.pth")
    with pytest.raises(BenchError, match=r"not in the encoder \(1\): decoder\.weight\n"):
        import_encoder(tmp_path / "c.pth", VIT, SIZE)


def test_every_key_that_does_not_fit_is_named(tmp_path):
    tensors = dict(module_of(RESNET).state_dict())
    del tensors["bn1.weight"], tensors["layer1.0.conv1.weight"], tensors["bn1.num_batches_tracked"]
    tensors |= {"strange.weight": torch.zeros(1), "other": torch.zeros(2), "fc.bias": torch.zeros(1)}
    tensors["conv1.weight"] = torch.zeros(8, 3, 3, 3)
    torch.save(prefixed("module.", tensors), tmp_path / "c.pth")
    with pytest.raises(BenchError) as error:
        import_encoder(tmp_path / "c.pth", RESNET, SIZE)
    assert "does not fit backbone 'resnet18' at 32 px" in str(error.value)
    assert str(error.value).splitlines()[1:] == [
        "- missing in the file (2): bn1.weight, layer1.0.conv1.weight",
        "- in the file, but not in the encoder (2): strange.weight, other",
        "- of another shape in the file (1): conv1.weight (8, 3, 3, 3), expected (64, 3, 7, 7)",
        "- left out (heads, other encoders) (1): fc.bias",
        "Another encoder.backbone, encoder.options or encoder.stem?",
    ]


def test_a_batch_norms_counter_may_be_missing_and_generators_are_left_alone(tmp_path):
    module = module_of(RESNET)
    tensors = {name: value for name, value in module.state_dict().items() if "num_batches" not in name}
    torch.save(tensors, tmp_path / "c.pth")
    before = torch.random.get_rng_state()
    found, _ = import_encoder(tmp_path / "c.pth", RESNET, SIZE)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(features(RESNET, found), module(images()))


def test_another_image_size_is_refused_with_both_sizes(tmp_path):
    torch.save(moco_v3(module_of(VIT, 64).state_dict(), "head"), tmp_path / "c.pth")
    said = r"embedding \(1, 65, 24\) is for 8 x 8 patches, images of 64 px.* of 32 px \(\(1, 17, 24\)\)\. Use .*size=64"
    with pytest.raises(BenchError, match=said):
        import_encoder(tmp_path / "c.pth", VIT, SIZE)


PICKLED = {"state_dict": {}, "args": argparse.Namespace(lr=1)}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.pth", b"garbage", "is no checkpoint"),
        ("c.pth", b"", "is no checkpoint that can be read"),
        ("c.pth", b"PK\x03\x04 broken", "is no checkpoint that can be read"),
        ("c.safetensors", b"garbage", "is no checkpoint that can be read.*Expected a safetensors file"),
        ("c.pth", PICKLED, "is not unpickled, as that could run code"),
        ("c.pth", [1, 2], "holds a list; expected named tensors"),
        ("c.pth", {"a": 1, "b": 2}, "holds the keys a, b; expected named tensors"),
        ("c.pth", {"state_dict": {}}, "holds nothing; expected named tensors"),
        ("c.pth", torch.zeros(2), "holds a Tensor; expected named tensors"),
    ],
)
def test_broken_files_those_that_would_run_code_and_those_without_named_tensors(tmp_path, name, content, said):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(BenchError, match=said):
        import_encoder(tmp_path / name, RESNET, SIZE)


def test_a_checkpoint_is_known_by_its_content(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"abc")
    found = Checkpoint.of(tmp_path / "a.pth")
    assert found.facts == {"checkpoint": "a.pth", "sha256": hashlib.sha256(b"abc").hexdigest()}
    for missing in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(BenchError, match=r"Expected a file with an encoder's weights"):
            Checkpoint.of(missing)
