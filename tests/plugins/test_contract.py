"""The kit must catch each kind of bad plugin, by the checks of that name and by no other."""

import contextlib
import copy
import random
import time
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench import (
    Attack,
    BenchError,
    Dataset,
    DatasetPlugin,
    Defense,
    Detector,
    EncoderTest,
    EncoderVerdict,
    Images,
    Learner,
    Poison,
    Repair,
    Split,
    SSLMethod,
    Verdict,
)
from bench.plugins.contract.checks import OF_BASE, TRIALS, assert_contract, contract, kind_of, run_checks
from bench.plugins.contract.toys import ToyView

plugin = dataclass(frozen=True, kw_only=True)
MUTANTS = []


def mutant(base, breaks, **body):
    """A plugin like `base` but for `body`, which breaks these checks."""
    cls = plugin(type(base)(base.__name__, (base,), {"__doc__": "Broken.", "__annotations__": {}, **body}))
    MUTANTS.append(pytest.param(cls, set(breaks.split()), id=f"{base.name}-{'-'.join(body)}-{breaks}"))
    return cls


# Attacks


@plugin
class Dot(Attack):
    """Turns one square of 3 px of class 0 to its negative."""

    name: ClassVar[str] = "dot"
    rate: float = 0.5

    def targets(self, classes):
        return (0,)

    def poison_train(self, scene, seeds):
        members = np.flatnonzero(scene.labels == 0)
        if not len(members):
            raise BenchError("class 0 has no images")
        chosen = seeds.child("choose").numpy().permutation(members)[: max(1, round(self.rate * len(members)))]
        return [self._row(int(index), scene, seeds) for index in sorted(chosen)]

    def poison_val(self, trigger, scene, seeds):
        return [self._row(index, scene, seeds) for index in range(len(scene.labels))]

    def _row(self, index, scene, seeds):
        seed = seeds.child(index).value
        return Poison(index=index, trigger=0, target=0, box=(seed % (scene.size - 2), 2, 3, 3), seed=seed)

    def apply(self, images, poisons):
        return inverted(images.clone(), poisons)


def inverted(images, poisons, bits=255):
    for image, row in zip(images, poisons, strict=True):
        top, left, height, width = row.box
        image[:, top : top + height, left : left + width] ^= bits
    return images


def training(change):
    """poison_train() with another answer."""
    return lambda self, scene, seeds: change(Dot.poison_train(self, scene, seeds))


def flips_a_label(self, trigger, scene, seeds):
    scene.labels[-1] = 3
    return Dot.poison_val(self, trigger, scene, seeds)


def complains_of_nothing(self, scene, seeds):
    return Dot.poison_train(self, scene, seeds) if 0 in scene.labels else []


def unseeded(rows):
    return [replace(row, seed=int(np.random.default_rng().integers(2**62))) for row in rows]


def spills(self, images, poisons):
    done = Dot.apply(self, images, poisons)
    done[:, :, 0, -1] ^= 255
    return done


mutant(Dot, "targets train_rows val_rows rate empty_class", targets=lambda self, classes: (99,))
mutant(Dot, "train_rows", poison_train=training(lambda rows: rows[::-1]))
mutant(Dot, "train_rows rate", poison_train=training(lambda rows: sorted(rows * 2, key=lambda row: row.index)))
mutant(Dot, "train_rows", poison_train=training(lambda rows: [replace(r, index=np.int64(r.index)) for r in rows]))
mutant(Dot, "train_rows val_rows", _row=lambda self, *given: replace(Dot._row(self, *given), box=(22, 2, 3, 3)))
mutant(Dot, "val_rows input_kept", poison_val=lambda self, *given: Dot.poison_val(self, *given)[1:])
mutant(Dot, "rate", poison_train=lambda self, *given: Dot(rate=1.0).poison_train(*given))
mutant(Dot, "input_kept", apply=lambda self, images, poisons: inverted(images, poisons))
mutant(Dot, "input_kept", poison_val=flips_a_label)
mutant(Dot, "applied", apply=lambda self, images, poisons: images.clone())
mutant(Dot, "applied", apply=lambda self, images, poisons: Dot.apply(self, images, poisons).float())
mutant(Dot, "inside_box", apply=spills)
mutant(Dot, "row_by_row", apply=lambda self, x, rows: inverted(x.clone(), rows, 255 ^ (int(x[0, 0, 0, 0]) & 127)))
mutant(Dot, "same_seed", poison_train=training(unseeded))
mutant(Dot, "other_seed", poison_train=lambda self, scene, seeds: Dot.poison_train(self, scene, type(seeds)(5)))
mutant(
    Dot, "empty_class", poison_train=lambda self, s, seeds: (0 in s.labels and Dot.poison_train(self, s, seeds)) or []
)


@plugin
class Mirror(Dot):
    """A poisoned training image is another one upside down, with the square of Dot."""

    name: ClassVar[str] = "mirror"
    composes = True

    def compose(self, poison, split):
        return inverted(split.images.batch([poison.index + 1]).flip(2), [poison])[0]


def composed(change):
    """compose() with another answer."""
    return lambda self, poison, split: change(Mirror.compose(self, poison, split))


def writes_to_the_split(self, poison, split):
    split.images.pixels[0] = 0
    return Mirror.compose(self, poison, split)


mutant(Mirror, "composed", compose=composed(lambda image: image.float()))
mutant(Mirror, "composed", compose=lambda self, poison, split: split.images.batch([poison.index])[0])
mutant(Mirror, "composed", compose=composed(lambda image: image ^ int(np.random.default_rng().integers(1, 256))))
mutant(Mirror, "composed", compose=writes_to_the_split)
mutant(Dot, "global_state", apply=lambda self, *given: torch.manual_seed(1) and Dot.apply(self, *given))
mutant(Dot, "global_state", poison_train=training(lambda rows: np.random.seed(1) or rows))  # noqa: NPY002
mutant(Dot, "global_state", targets=lambda self, classes: (int(random.random()),))
mutant(Dot, "docstring", __doc__=None)
mutant(Dot, "identity", identity=lambda self: {"name": {1, 2}})
mutant(Dot, "options rate", __post_init__=lambda self: object.__setattr__(self, "rate", self.rate * 0.9))


# Defenses


@plugin
class Far(Defense):
    """Drops the tenth of the images whose features lie farthest out; boxes the lower right corner."""

    name: ClassVar[str] = "far"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    drop: float = 0.1

    def clean(self, view):
        images = view.batch(np.arange(len(view)))
        features = view.step("features", lambda: {"features": view.encoder(images).numpy()})["features"]
        found = view.step("noise", lambda: {"noise": view.seeds("noise").numpy().normal(size=features.shape[1])})
        score = np.abs((features - features.mean(0)) @ found["noise"]).astype(np.float64)
        keep = score <= np.quantile(score, 1 - self.drop)
        trigger = np.where(keep, np.nan, score)
        boxes = np.where(keep[:, None], -1, [[view.size - 5, view.size - 5, 5, 5]]).astype(np.int64)
        return Verdict(keep=keep, score=score, trigger_score=trigger, boxes=boxes, facts={"kept": int(keep.sum())})


def twist(breaks, **parts):
    """A mutant with other parts in its verdict; each is made of the right verdict."""

    def clean(self, view):
        found = Far.clean(self, view)
        return replace(found, **{name: value(found) for name, value in parts.items()})

    return mutant(Far, breaks, clean=clean)


def before(breaks, act, **body):
    """A mutant that acts on its view first."""
    mutant(Far, breaks, clean=lambda self, view: (act(view), Far.clean(self, view))[1], **body)


twist("keep clean_data", keep=lambda found: found.keep.astype(int))
twist("keep clean_data", keep=lambda found: np.zeros_like(found.keep))
twist("keep clean_data", keep=lambda found: found.keep[:, None])
twist("scores", score=lambda found: found.trigger_score)
twist("boxes", boxes=lambda found: np.where(found.boxes > 0, 20, -1))
twist("boxes", boxes=lambda found: np.full_like(found.boxes, 4))
twist("boxes", boxes=lambda found: None)
NumpyFacts = twist("facts", facts=lambda found: {"kept": found.keep.sum()})
twist("facts", facts=lambda found: {1: "a key that is no text"})
twist("same_seed resume", facts=lambda found: {"at": time.perf_counter()})
mutant(Far, "forwards", forwards=lambda self, count, size: count / 2)
mutant(Far, "forwards", trained_on=lambda self, count, size: -count)
before("encoder_kept", lambda view: view.encoder.module.train())
before("encoder_kept", lambda view: view.encoder.module.register_forward_hook(lambda *_: None))
before("images_kept", lambda view: view._images.pixels.__setitem__(-1, 0))
before("global_state", lambda view: torch.set_grad_enabled(False))


def hushes_up(self, view):
    try:
        return Far.clean(self, view)
    except BenchError:
        return Verdict(keep=np.ones(len(view), dtype=bool))


def draws_from_one_stream(self, view):
    """In two steps, from a generator that a resumed run has not advanced."""
    draw = view.seeds("stream").numpy()
    view.step("a", lambda: {"a": draw.normal(size=3)})
    view.step("b", lambda: {"b": np.zeros(1)})
    verdict = Far.clean(self, view)
    view.step("c", lambda: {"c": np.zeros(1)})
    return replace(verdict, facts={"draw": float(view.step("d", lambda: {"d": draw.normal(size=1)})["d"][0])})


def writes_past_its_result(self, view):
    seen = []
    view.step("a", lambda: seen.append(1) or {"a": np.zeros(1)})
    return replace(Far.clean(self, view), facts={"seen": len(seen)})


mutant(Far, "needs", needs=frozenset(), clean=hushes_up)
mutant(Far, "resume", clean=draws_from_one_stream)
mutant(Far, "resume", clean=writes_past_its_result)


# Datasets


class Plain(Images):
    """An array of images."""

    size = 8

    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def batch(self, indices):
        return self.pixels[torch.as_tensor(np.asarray(indices, dtype=np.int64))]


@plugin
class Noise(DatasetPlugin):
    """Two classes of noise."""

    name: ClassVar[str] = "noise"
    images: ClassVar[type] = Plain

    def load(self):
        train, val = self.split("train", 10), self.split("val", 4)
        return Dataset(name="noise", classes=("a", "b"), train=train, val=val, fingerprint="0" * 64)

    def split(self, name, count):
        pixels = torch.from_numpy(np.random.default_rng(count).integers(0, 256, (count, 3, 8, 8)).astype("uint8"))
        ids = [f"{name}-{row}" for row in range(count)]
        return Split(images=self.images(pixels), labels=np.arange(count, dtype=np.int64) % 2, ids=ids)


def changed(breaks, **parts):
    """A mutant that loads something else; each part is made of the right data."""

    def load(self):
        data = Noise.load(self)
        return replace(data, **{name: value(data) for name, value in parts.items()})

    mutant(Noise, breaks, load=load)


def of_train(**parts):
    return lambda data: replace(data.train, **{name: value(data.train) for name, value in parts.items()})


def batching(breaks, batch):
    """A mutant whose images answer otherwise."""
    mutant(Noise, breaks, images=type("Other", (Plain,), {"batch": batch}))


def lent(self, indices):
    """Hands out the same tensor again."""
    return self.__dict__.setdefault("kept", {}).setdefault(tuple(indices), Plain.batch(self, indices))


def lists_only(self, indices):
    if isinstance(indices, np.ndarray):
        raise TypeError("a list, please")
    return Plain.batch(self, indices)


chance = random.SystemRandom()
changed("classes", classes=lambda data: ["a", "b"])
changed("classes", classes=lambda data: ("a", "a"))
changed("labels", train=of_train(labels=lambda split: split.labels.astype(np.int32)))
changed("labels", train=of_train(labels=lambda split: split.labels + 1))
changed("labels", train=of_train(labels=lambda split: split.labels.tolist()))
changed("ids", train=of_train(ids=lambda split: ["x"] * len(split)))
changed("ids", train=of_train(ids=lambda split: list(range(len(split)))))
changed("fingerprint", fingerprint=lambda data: "none")
changed("same_again", fingerprint=lambda data: f"{chance.getrandbits(256):064x}")
changed("same_again", train=of_train(ids=lambda split: [f"{chance.random()}" for _ in split.ids]))
batching("batch", lambda self, indices: Plain.batch(self, indices).float())
batching("batch", lambda self, indices: Plain.batch(self, sorted(indices)))
batching("ownership", lent)
batching("indices", lists_only)
batching("indices", lambda self, indices: torch.stack([self.pixels[row] for row in indices]))  # none is too few
batching("global_state", lambda self, indices: (random.random(), Plain.batch(self, indices))[1])


# SSL methods


class InfoNCE(nn.Module, Learner):
    """With soft targets, between the first two views."""

    def __init__(self, backbone, dim):
        super().__init__()
        self.backbone, self.gather, self.rank = backbone, (lambda keys: keys), 0
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, views, mixed=None):
        query, key = (F.normalize(self.backbone(v), dim=1) for v in ((mixed.views if mixed else views)[0], views[1]))
        similar, own = query @ self.gather(key.detach()).T / 0.2 * (1 + self.seen), torch.arange(len(query))
        loss = F.cross_entropy(similar, own)
        if mixed:
            other = F.cross_entropy(similar, mixed.partners[0])
            loss = mixed.weights[0] * loss + (1 - mixed.weights[0]) * other
        return loss

    def after_step(self, fraction):
        self.seen += 0.1


@plugin
class Contrast(SSLMethod):
    """As it should be."""

    name: ClassVar[str] = "contrast"
    kind: ClassVar[type] = InfoNCE

    def learner(self, backbone, dim):
        return self.kind(backbone, dim)


def losing(breaks, change):
    """A mutant with another loss, made of the views and the right one."""

    def forward(self, views, mixed=None):
        return change(views, InfoNCE.forward(self, views, mixed))

    mutant(Contrast, breaks, kind=type("Other", (InfoNCE,), {"forward": forward}))


def two_only(self, views, mixed=None):
    one, two = views
    return InfoNCE.forward(self, [one, two], mixed)


class Forgets(InfoNCE):
    def __init__(self, backbone, dim):
        super().__init__(backbone, dim)
        del self.seen
        self.seen = torch.zeros(1)


losing("loss same_seed", lambda views, loss: loss if len(views) > 2 else loss[None])
losing("gradient loss local_views views_kept same_seed mixed resume", lambda views, loss: loss * float("nan"))
losing("gradient resume", lambda views, loss: loss.detach())
losing("views_kept", lambda views, loss: (views[-1].mul_(1.0001), loss)[1])
losing("same_seed resume global_state", lambda views, loss: loss * (1 + 1e-4 * torch.rand(())))
mutant(Contrast, "local_views views_kept mixed", kind=type("TwoOnly", (InfoNCE,), {"forward": two_only}))
ignoring = {"forward": lambda self, views, mixed=None: InfoNCE.forward(self, views)}
mutant(Contrast, "mixed", kind=type("IgnoresMixed", (InfoNCE,), ignoring))
mutant(Contrast, "resume", kind=Forgets)


# Repairs


class Mender(nn.Module, Learner):
    def __init__(self, old, new):
        super().__init__()
        self.old, self.backbone = old, new

    def forward(self, views, mixed=None):
        with torch.no_grad():
            old = self.old(views[0])
        return (self.backbone(views[0]) - old).square().mean()


@plugin
class Mend(Repair):
    """A fresh encoder learns the old one's features."""

    name: ClassVar[str] = "mend"
    fresh: ClassVar[bool] = True
    length: float = field(default=0.5)

    def learner(self, old, new, dim, ssl):
        return Mender(old, new)


def mends(change):
    """A `learner` whose module's networks `change` alters first."""
    return lambda self, old, new, dim, ssl: change(Mender(old, new))


def swapped(learner):
    learner.backbone = copy.deepcopy(learner.backbone)
    return learner


def retrained(learner):
    learner.old.train()
    return learner


def thawed(learner):
    learner.old.requires_grad_(True)
    return learner


mutant(Mend, "new_encoder", learner=mends(swapped))
mutant(Mend, "old_encoder", learner=mends(retrained))
mutant(Mend, "old_encoder", learner=mends(thawed))


@pytest.fixture
def restored():
    """The global state is put back afterwards."""
    kept = np.random.get_state(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
    yield
    np.random.set_state(kept[0]), torch.set_rng_state(kept[1]), random.setstate(kept[2])  # noqa: NPY002
    torch.set_grad_enabled(True)


# Detectors and encoder tests


@plugin
class Bright(Detector):
    """Scores an image by its brightest channel beside that of the known images."""

    name: ClassVar[str] = "bright"

    def score(self, view, known):
        usual = known.step("usual", lambda: {"mean": np.array(brightness(known).mean())})["mean"]
        return brightness(view) - float(usual)


def brightness(view):
    return view.batch(range(len(view))).double().mean((2, 3)).amax(1).numpy()


mutant(Bright, "test_scores", score=lambda self, view, known: brightness(view).astype(np.int64))
mutant(Bright, "test_scores", score=lambda self, view, known: np.full(len(view), np.nan))
mutant(Bright, "by_itself", score=lambda self, view, known: brightness(view) - brightness(view).mean())
mutant(Bright, "by_itself", score=lambda self, view, known: np.arange(len(view), dtype=float))
mutant(Bright, "needs", score=lambda self, view, known: hushed(view) * brightness(view))
mutant(Bright, "forwards", forwards=lambda self, count, size: 5)
mutant(Bright, "images_kept", score=lambda self, view, known: spoilt(known) * brightness(view))
mutant(Bright, "same_seed by_itself", score=lambda self, view, known: np.random.default_rng().random(len(view)))
mutant(Bright, "clean_data", score=lambda self, view, known: brightness(view) / found(known))
mutant(Bright, "resume", score=lambda self, view, known: forgetful(known) + brightness(view))


def spoilt(view):
    view._images.pixels[0] = 0
    return 1.0


def found(view):
    """Fails where no image has the corner of the toy patch: a white pixel."""
    if not (view.batch(range(len(view))) == 255).all(1).any():
        raise ValueError("nothing found")
    return 1.0


def hushed(view):
    with contextlib.suppress(BenchError):
        view.encoder  # noqa: B018
    return 1.0


def forgetful(view):
    done = "a" in view.notebook
    view.step("a", lambda: {"x": np.zeros(1)})
    return float(done)


@plugin
class Alike(EncoderTest):
    """Scores an encoder by the spread of its features."""

    name: ClassVar[str] = "alike"

    def verdict(self, view):
        spread = view.step("spread", lambda: {"x": view.encoder(view.batch(range(40))).double().std(0).numpy()})["x"]
        return EncoderVerdict(score=-float(spread.mean()), facts={"features": len(spread)})


mutant(Alike, "encoder_score", verdict=lambda self, view: EncoderVerdict(score=float("inf")))
mutant(Alike, "facts", verdict=lambda self, view: EncoderVerdict(score=1.0, facts={"x": {1, 2}}))
mutant(Alike, "same_seed", verdict=lambda self, view: EncoderVerdict(score=time.perf_counter()))
mutant(Alike, "clean_data", verdict=lambda self, view: EncoderVerdict(score=found(view)))
mutant(Alike, "resume", verdict=lambda self, view: EncoderVerdict(score=forgetful(view)))
mutant(Alike, "needs", needs=frozenset(), verdict=lambda self, view: EncoderVerdict(score=hushed(view)))
mutant(Alike, "forwards", forwards=lambda self, count, size: -1)
mutant(Alike, "images_kept", verdict=lambda self, view: EncoderVerdict(score=spoilt(view)))
mutant(Alike, "encoder_kept", verdict=lambda self, view: EncoderVerdict(score=trained(view)))


def trained(view):
    view.encoder.module.train()
    return 1.0


def results(instance, **more):
    return {result.name: result for result in run_checks(kind_of(instance), instance, **more)}


@pytest.mark.parametrize(("cls", "breaks"), MUTANTS)
def test_each_fault_is_caught_by_its_checks_alone(cls, breaks, restored):
    found = results(cls())
    assert {name for name, result in found.items() if not result.ok} == breaks
    assert all(found[name].why for name in breaks)
    assert all(found[name].fix for name in breaks if not found[name].why.startswith("not reached"))


@contract(Dot(), Dot(rate=1.0), Mirror(), Far(), Far(drop=0.3), Noise(), Contrast(), Mend(), Bright(), Alike())
def test_good_ones_keep_their_contracts(): ...


def test_every_check_catches_something():
    caught = {kind: {"class", "loads", "runs", "learner"} for kind in TRIALS}  # those are shown below
    common = {"docstring", "options", "identity"}  # by the attacks
    for cls, breaks in (each.values for each in MUTANTS):
        caught[kind_of(cls())] |= breaks | common
    for base, trial in ((Detector, OF_BASE[Detector]), (EncoderTest, OF_BASE[EncoderTest])):
        assert {check.name for check in trial.checks()} <= caught["defense"], base
    for kind, trial in TRIALS.items():
        assert {check.name for check in trial.checks()} <= caught[kind]


@plugin
class Crash(Dot):
    """Crashes."""

    def poison_train(self, scene, seeds):
        raise KeyError("lost")


class Undecorated(Dot):
    """Not decorated."""


@plugin
class Curious(Far):
    """Uses the encoder without saying so."""

    needs: ClassVar[frozenset[str]] = frozenset()


@plugin
class Tuple(Far):
    """Returns something else."""

    def clean(self, view):
        return super().clean(view).keep, None


@plugin
class Listed(Far):
    """Has facts that are no dict."""

    def clean(self, view):
        return replace(super().clean(view), facts=[1])


@plugin
class Leaving(Dot):
    """Ends the process."""

    def poison_train(self, scene, seeds):
        raise SystemExit(3)


@plugin
class Missing(Noise):
    """Its files are not there."""

    def load(self):
        raise BenchError("there is no folder data/: give root")


@plugin
class Uneven(Noise):
    """A label is missing."""

    def split(self, name, count):
        made = super().split(name, count)
        return replace(made, labels=made.labels[1:])


@plugin
class WithoutLearner(Contrast):
    """Forgets the base: a module of torch alone."""

    kind: ClassVar[type] = nn.Flatten


@pytest.mark.parametrize(
    ("instance", "name", "why", "after"),
    [
        (Crash(), "train_rows", "poison_train() raised KeyError: 'lost'", "applied"),
        (Undecorated(), "class", "not a frozen dataclass", None),
        (Curious(), "runs", "UndeclaredNeed", "keep"),
        (Tuple(), "runs", "clean() gave tuple, expected bench.Verdict", "keep"),
        (Listed(), "runs", "facts is list, expected a dict", "facts"),
        (Leaving(), "train_rows", "poison_train() raised SystemExit: 3", "applied"),
        (Missing(), "loads", "give root", "batch"),
        (Uneven(), "loads", "10 images, 9 labels, 10 ids", "batch"),
        (WithoutLearner(), "learner", "Flatten is no bench.Learner: name it among its bases", "loss"),
    ],
)
def test_what_stops_others_is_reported_once(instance, name, why, after):
    found = results(instance)
    assert why in found[name].why
    assert not found[name].ok
    if isinstance(instance, DatasetPlugin):
        assert [each for each, result in found.items() if why in result.why] == [name]
    if isinstance(instance, Curious):
        assert not found["needs"].ok
    if after:
        assert found[after].why == f"not reached: see {name}"
        assert found["docstring"].ok


@plugin
class Everywhere(Attack):
    """Inverts the whole image."""

    name: ClassVar[str] = "everywhere"
    strength: int = field(default=1)

    def targets(self, classes):
        return (0,)

    def poison_train(self, scene, seeds):
        rows = [row for row in self.poison_val(0, scene, seeds) if scene.labels[row.index] == 0]
        if not rows:
            raise BenchError("class 0 is empty")
        return rows

    def poison_val(self, trigger, scene, seeds):
        seeded = [seeds.child(index).value for index in range(len(scene.labels))]
        return [Poison(index=i, trigger=0, target=0, box=None, seed=seed) for i, seed in enumerate(seeded)]

    def apply(self, images, poisons):
        return 255 - images


@plugin
class WithoutMixing(Contrast):
    """Takes no mixed views, which is allowed."""

    kind: ClassVar[type] = type("Unmixed", (InfoNCE,), {"forward": lambda self, views: InfoNCE.forward(self, views)})


@plugin
class Declared(NumpyFacts):
    """Has facts that are not JSON, and says so."""

    expected_failures: ClassVar[dict[str, str]] = {"facts": "they are for a notebook"}


@pytest.mark.parametrize(
    ("instance", "remarks"),
    [
        (Everywhere(), {"inside_box": "it gives no boxes", "rate": "it has no option `rate`"}),
        (WithoutMixing(), {"mixed": "forward() takes no mixed views"}),
        (Declared(), {"facts": "does not hold, as declared: they are for a notebook"}),
    ],
)
def test_what_holds_with_a_remark(instance, remarks):
    assert_contract(instance)
    found = results(instance)
    assert all(found[name].why.startswith(remark) for name, remark in remarks.items())


def test_a_declared_failure_that_holds_is_an_error():
    result = results(Far(), expected={"facts": "a reason"})["facts"]
    assert not result.ok
    assert "but holds" in result.why
    assert "expected_failures" in result.fix


@pytest.mark.parametrize(
    ("kind", "expected", "said"),
    [
        ("defense", {"fact": "x"}, "Did you mean 'facts'"),
        ("defense", {"facts": " "}, "no reason"),
        ("defence", {}, "unknown kind"),
    ],
)
def test_what_cannot_be_checked(kind, expected, said):
    with pytest.raises(BenchError, match=said):
        run_checks(kind, Far(), expected=expected)


def test_assert_contract_lists_what_is_broken():
    with pytest.raises(AssertionError, match=r"breaks its contract:\nfacts: facts is not JSON: .* To mend: convert"):
        assert_contract(NumpyFacts())


def test_the_toy_view_is_as_strict_as_the_real_one():
    view, calls = ToyView(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)), []
    for step in ([np.zeros(1)], {"a": [1]}, {"a": np.array([None])}):
        with pytest.raises(TypeError, match="step 's' gave"):
            view.step("s", lambda step=step: step)
    first = view.step("s", lambda: calls.append(1) or {"a": np.arange(3)})
    first["a"][:] = 9  # a copy
    assert view.step("s", lambda: calls.append(2))["a"].tolist() == [0, 1, 2]
    assert calls == [1]
    with pytest.raises(ValueError, match="3 of 2"):
        view.progress("x", 3, 2)
