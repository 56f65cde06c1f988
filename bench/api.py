"""The types that the harness and its plugins share. Third parties import them as `bench.NAME`.

Conventions: images are uint8 tensors (B, 3, S, S), RGB, square; a box is (top, left, height, width) in pixels;
class and image indices start at 0; every score is "higher = more suspicious".
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .seeds import Seeds

Box = tuple[int, int, int, int]
Arrays = dict[str, NDArray[Any]]
ProgressCallback = Callable[[int], None]
RowFunction = Callable[[Any, int, int, ProgressCallback], Arrays]
"""function(what, start, stop, progress) -> arrays (stop - start, ...): rows start to stop of what is requested. It
calls progress(n) after n more rows."""
RowMapper = Callable[[Any, int, int, ProgressCallback], Arrays]
"""mapper(what, count, group, progress) -> arrays (count, ...): all rows, computed in spans that start at multiples of
`group`. It calls progress(n) when n rows are done in all."""


class Plugin:
    """Base of everything that can be plugged in: a frozen keyword-only dataclass whose fields are its options.

    The first docstring line says what it is; the rest names the paper and every deviation from it.
    """

    name: ClassVar[str]
    variant_of: ClassVar[str] = ""
    """Name of a plugin of its kind whose options in a preset are this one's too, where it has none of its own there."""
    paper: ClassVar[str] = ""
    """Where it was published, as "Saha et al., Hidden Trigger Backdoor Attacks, AAAI 2020"; "" for nowhere. Tables show
    it, a record keeps it; it names no result."""
    url: ClassVar[str] = ""
    """Where to read more, a page that begins with http:// or https://; "" for none."""

    def identity(self) -> dict[str, Any]:
        """JSON-able facts that decide the outcome: the options, and digests of files they point to."""
        if not dataclasses.is_dataclass(self):
            raise TypeError(f"{type(self).__name__} must be a dataclass")
        return {"name": self.name, **dataclasses.asdict(self)}


class Images(ABC):
    """A sequence of square RGB images of one size, read by index; nothing is read before it is requested."""

    size: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """The images at `indices`: uint8 (B, 3, size, size) on the CPU, in that order, owned by the caller."""

    def original_size(self, index: int) -> tuple[int, int]:
        """Height and width in pixels of the photograph that image `index` was made of; its own where there is none."""
        return self.size, self.size

    def edited(self, index: int, edit: Callable[[Tensor], Tensor]) -> Tensor:
        """Image `index`, uint8 (3, size, size), as it would be if its photograph, uint8 (3, H, W), had been changed by
        `edit` before it was cropped and resized."""
        return edit(self.batch([index])[0])

    def mask(self, index: int) -> Tensor | None:
        """Which pixels of image `index` show its object, bool (size, size); None where that is not known."""
        return None


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a dataset: images, their class index (N,) int64, and a stable unique id for each."""

    images: Images
    labels: NDArray[np.int64]
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A loaded dataset. `fingerprint` is a SHA-256 over class list, ids and image bytes of both splits.

    `skipped` names files that could not be read and were left out.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    fingerprint: str
    skipped: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Width and height of every image, in pixels."""
        return self.train.images.size


class DatasetPlugin(Plugin, ABC):
    """A dataset by name; its fields are its options."""

    @abstractmethod
    def load(self) -> Dataset:
        """Open the dataset (lazily where it is large). Raises BenchError saying what to do when it is not there."""


class Mixed(NamedTuple):
    """What a training change made of the views: query views, each showing another image of the batch in part.

    views: V tensors of the shapes of the loop's. partners: V tensors (b,) int64, the row of the batch whose image was
    mixed in. weights: V numbers in [0, 1], the share of the view that still shows its own image.
    """

    views: Sequence[Tensor]
    partners: Sequence[Tensor]
    weights: Sequence[float]


class Learner(ABC):
    """Mix-in of the torch module that an SSL method trains; the loop calls these and knows nothing else of it."""

    backbone: nn.Module
    """The encoder that is kept after training: (B, 3, s, s) float32 -> (B, dim)."""
    gather: Callable[[Tensor], Tensor]
    """Set by the loop: (b, d) on this process -> (B, d) over all processes in rank order, without gradients."""
    rank: int
    """Set by the loop: this process's place among the processes."""

    @abstractmethod
    def forward(self, views: Sequence[Tensor], mixed: Mixed | None = None) -> Tensor:
        """The loss (a scalar) of `views`: each (b, 3, s_v, s_v) float32 normalised; the first two are global.

        With `mixed`, the queries are its views and the keys (targets) remain `views`: query i of view v has its own
        key with weight w_v and the key of image `partners[v][i]` with weight 1 - w_v.
        """

    def after_step(self, fraction: float) -> None:  # noqa: B027 - a method without a momentum encoder needs none
        """Called after each optimiser step with the share of training done, in (0, 1]."""


class SSLMethod(Plugin, ABC):
    """A self-supervised objective on the shared training loop."""

    @abstractmethod
    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """A module that is a Learner, around `backbone` with `dim` features. Initialise with torch's default
        generator: the loop seeds and restores it around this call."""


@dataclass(frozen=True, kw_only=True)
class Poison:
    """The truth about one poisoned image: its index, which trigger, the trigger's target class, where, which seed.

    `box` is None for a trigger that is not at one place (a frequency-domain trigger). `strength`, in the attack's own
    unit, is for triggers that are not equally strong on every image; None for all others.
    """

    index: int
    trigger: int
    target: int
    box: Box | None
    seed: int
    strength: float | None = None


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """What an attack may know of a split: labels (N,) int64, class names, image width in pixels, and by its index the
    (height, width) of the photograph that an image was made of and the mask of its object (`Images.mask`)."""

    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    size: int
    original_size: Callable[[int], tuple[int, int]] | None = None
    mask: Callable[[int], Tensor | None] | None = None


class Attack(Plugin, ABC):
    """Poisons a training set and triggers a validation set. Two halves: decide (rows of truth), then apply (pixels)."""

    poisons: ClassVar[bool] = True
    """False: a control that poisons no training image; its trigger is measured all the same."""

    @property
    def on_originals(self) -> bool:
        """Whether training images are poisoned by `apply_original`, before they are cropped and resized."""
        return False

    def apply_original(self, original: Tensor, poison: Poison) -> Tensor:
        """A photograph (3, H, W) uint8 with `poison` applied: a new tensor, same shape and dtype."""
        raise NotImplementedError(f"{self.name} poisons images, not their originals")

    @property
    def composes(self) -> bool:
        """Whether a poisoned training image is made by `compose`, of more than its own pixels."""
        return False

    def compose(self, poison: Poison, split: Split) -> Tensor:
        """The training image of row `poison`, uint8 (3, S, S), made of any images of the clean `split` and their masks.
        Its content decides nothing else: validation images are triggered by `apply`."""
        raise NotImplementedError(f"{self.name} makes a poisoned image of its own pixels alone")

    @property
    def recompresses(self) -> bool:
        """Whether pixels outside a row's box may change a little, as by JPEG."""
        return False

    @abstractmethod
    def targets(self, classes: tuple[str, ...]) -> tuple[int, ...]:
        """The target class index of each trigger, in the order of the triggers."""

    @abstractmethod
    def poison_train(self, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """Which training images are poisoned and how, by increasing index; labels are never changed."""

    @abstractmethod
    def poison_val(self, trigger: int, split: SplitInfo, seeds: Seeds) -> list[Poison]:
        """One row for every validation image, all with `trigger`."""

    @abstractmethod
    def apply(self, images: Tensor, poisons: Sequence[Poison]) -> Tensor:
        """`images` (B, 3, S, S) uint8 with poisons[i] applied to image i: a new tensor, same shape and dtype."""


class Encoder(Protocol):
    """A frozen SSL encoder as a defense may use it."""

    dim: int
    device: torch.device
    module: nn.Module
    """The bare backbone: (B, 3, S, S) float32, normalised as by `prepare` -> (B, dim); for gradients (Grad-CAM)."""

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 [0, 255] or float [0, 1] images, any device -> normalised float32 on the encoder's device."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, dim), float32, on the encoder's device, not normalised, without gradients."""
        ...


class View(Protocol):
    """All that a defense sees: unlabelled images by index, what it declared in `needs`, generators, kept steps.

    The images stand in the order of a hash of their content, equal ones in an order drawn for this run, so that an
    index carries no information. Requesting an undeclared need raises UndeclaredNeed.
    """

    size: int
    device: torch.device

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """The images at `indices`: uint8 (B, 3, size, size) on the CPU."""
        ...

    @property
    def encoder(self) -> Encoder:
        """The threat model. Needs "encoder"."""
        ...

    def seeds(self, *names: str | int) -> Seeds:
        """The seed node under these names: the only source of randomness a defense may use."""
        ...

    def step(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """`compute()`, kept on disk: a killed run does not compute it again. No object arrays."""
        ...

    def map_rows(self, make: Callable[[View], RowFunction]) -> RowMapper:
        """A mapper whose rows are computed by the row function `make(view)`.

        On one device in one go; on several in spans, each by a process that made its own row function from a view of
        the same images, needs and seeds (whose `step` cannot be used). `make` and what is requested are then pickled:
        make is a module's function, or functools.partial of one.
        """
        ...

    def progress(self, what: str, done: int, total: int) -> None:
        """Report to the user: `done` of `total` units of `what`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """The judgement of a defense on N training images.

    keep: (N,) bool. score: (N,) float, the detector's suspicion of every image (None where there is none).
    trigger_score: (N,) float, how strongly the image's candidate trigger acts, NaN where not scored;
    boxes: (N, 4) int64 candidate trigger windows, -1 where not scored. None: it scores no triggers, or locates none.
    facts: JSON-able facts worth keeping in the record (numbers of clusters, rounds, images scored ...).
    """

    keep: NDArray[np.bool_]
    score: NDArray[np.float64] | None = None
    trigger_score: NDArray[np.float64] | None = None
    boxes: NDArray[np.int64] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is not None and has a row for each image, by name."""
        found = {name: getattr(self, name) for name in ("keep", "score", "trigger_score", "boxes")}
        return {name: np.asarray(values) for name, values in found.items() if values is not None}


class Grouping(NamedTuple):
    """How a defense groups N images into l groups.

    labels: (N,) int64, each image's group. score: (l,) float64, how suspicious the group is, NaN where no image of it
    was scored. rule: what that score is, in words.
    """

    labels: NDArray[np.int64]
    score: NDArray[np.float64]
    rule: str


class Judge(Plugin, ABC):
    """What those have in common that look at images through a view: Defense, Detector, EncoderTest. Declares in `needs`
    what its view must hold besides the images: {"encoder"}.

    An instance may need less than its class, where an option says so. `count`: of the images in its view, `size`: their
    width in px.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    baseline: ClassVar[bool] = False
    """True: a simple method to compare with; tables show it below a line."""

    def forwards(self, count: int, size: int) -> int:
        """About how many images it puts through the encoder for `count` images of `size` px: what `bench plan`
        estimates its time from."""
        return count if "encoder" in self.needs else 0

    def trained_on(self, count: int, size: int) -> int:
        """About how many images it trains networks of its own on, each counted as often as it is used; 0 where it
        trains none. Also for `bench plan`."""
        return 0

    def seconds(self, count: int, size: int) -> float:
        """About how many seconds of one CPU core it takes for `count` images of `size` px besides the encoder's passes
        and its own networks, where that is much. Also for `bench plan`."""
        return 0.0

    def in_force(self, count: int, size: int) -> Mapping[str, Any]:
        """The value of every option for `count` training images of `size` px, those that a rule chooses included."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]


class Defense(Judge):
    """Finds poisoned images among the training images."""

    @abstractmethod
    def clean(self, view: View) -> Verdict:
        """Judge every image of the view."""

    def attention(
        self, view: View, indices: Sequence[int] | NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """For pictures: where it looks on the images at `indices`, maps (n, S, S), higher = more suspicious, and its
        windows (n, 4). None for a defense that locates nothing."""
        return None

    def grouping(self, view: View, verdict: Verdict) -> Grouping | None:
        """For pictures: the groups that led to `verdict`. None for a defense that makes none."""
        return None


class Detector(Judge):
    """Judges single images when the encoder is used, as a doorkeeper: does this one carry a trigger? It removes nothing
    and trains nothing; a run with it ends with its scores."""

    @abstractmethod
    def score(self, view: View, known: View) -> NDArray[np.float64]:
        """The suspicion of every image of `view`, (N,) float64, finite, higher = more suspicious.

        view: images that the encoder is given, some with a trigger. known: the unlabelled training images as they were
        scraped, the poisoned ones among them, which whoever trained the encoder has. Each image of `view` is judged by
        itself: its score must not depend on which others are there, nor on its place.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class EncoderVerdict:
    """The judgement of an encoder. score: a finite number, higher = more suspicious. facts: JSON-able, for the
    record."""

    score: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class EncoderTest(Judge):
    """Judges an encoder: does it have a backdoor? A run with it ends with its verdict."""

    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})

    @abstractmethod
    def verdict(self, view: View) -> EncoderVerdict:
        """The suspicion of `view.encoder`. view: the unlabelled training images, the poisoned ones among them."""


class TrainingDefense(Plugin, ABC):
    """Changes how the new encoder is trained and removes nothing; "filter+change" combines it with a Defense."""

    @abstractmethod
    def mix(self, views: Sequence[Tensor], seeds: Seeds) -> Mixed:
        """The query views of one step, from its views (b, 3, s_v, s_v) float32 normalised, which are not changed.

        Called on each process with its own rows and with seeds of its own.
        """


@dataclass(frozen=True, kw_only=True)
class Repair(Plugin, ABC):
    """Makes the new encoder out of the old one, on the kept images, in place of a second training from nothing;
    "filter+repair" combines it with a Defense or a Control. It trains on the loop of all SSL methods.

    Both options are relative to the preset's section [train], of which all else holds as it is. However few images are
    kept, as many are seen in all: a tenth of them is passed over ten times as often.
    """

    fresh: ClassVar[bool] = False
    """True: the new encoder starts from random weights; False: from the old one's."""
    length: float = field(default=1.0, metadata={"help": "images seen in training, as a share of the first training's"})
    lr: float = field(default=1.0, metadata={"help": "learning rate, as a share of train.lr"})

    def __post_init__(self) -> None:
        for name in ("length", "lr"):
            if not 0 < getattr(self, name) < float("inf"):
                raise BenchError(
                    f"{name} is {getattr(self, name)}, expected a number above 0 (1: as the first training)"
                )

    @abstractmethod
    def learner(self, old: nn.Module, new: nn.Module, dim: int, ssl: SSLMethod) -> nn.Module:
        """A module that is a Learner, whose `backbone` is `new`. Initialise as `SSLMethod.learner` does.

        old, new: (B, 3, s, s) float32, normalised, as the views are -> (B, dim). `old` is frozen and in evaluation
        mode, and is to stay so; `ssl` is the method that trained it. A learner that takes no mixed views is fine.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What a control may know and a defense never can: poisoned (N,) bool, and what the control's rival kept, (N,)
    bool, where it names one."""

    poisoned: NDArray[np.bool_]
    reference_keep: NDArray[np.bool_] | None


class Control(Plugin, ABC):
    """A row to compare defenses with. It sees the truth, so it is no Defense, and every table marks it."""

    reference: ClassVar[str] = ""
    """The option that names the defense whose verdict `keep` needs; "" for none."""
    unpoisoned: ClassVar[bool] = False
    """True: the new encoder sees every image as it was before it was poisoned."""

    @abstractmethod
    def keep(self, truth: Truth, seeds: Seeds) -> NDArray[np.bool_]:
        """Which images the new encoder is trained on: (N,) bool."""


AnyDefense = Defense | TrainingDefense | Repair | Control | Detector | EncoderTest
"""What `--defense` may name, alone or as a part."""
