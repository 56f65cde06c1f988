"""DINO: a student gives each view to the prototypes that its own slow copy, the teacher, gives another view to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bench.api import Mixed

from .pairs import PairMethod, Views, key_views, numbered, rising, share

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .learner import MomentumLearner


@dataclass(frozen=True, kw_only=True)
class DINO(PairMethod):
    """DINO (Caron et al., 2021): self-distillation; a teacher's sharpened, centred assignments are the student's aim.

    The teacher sees the global views, the student all of them. No negatives and no predictor: centring keeps one
    prototype from taking all images, the teacher's low temperature keeps all from sharing them equally (section 3.1).
    Departures: optimiser, schedule and views are the loop's, so weight decay stays the same, gradients are not
    clipped, and the last layer learns from the first epoch on; heads start with torch's own weights; `warmup` is a
    share of the training (30 of 300 epochs); batch normalisation sees each global view and process by itself; the
    student is kept, not the teacher; `projector = 0` compares the encoder's features themselves with the prototypes,
    which lets a backdoor reach the encoder sooner. [?] A mixed view's two aims are blended by their shares of it.
    """

    name: ClassVar[str] = "dino"
    paper: ClassVar[str] = "Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021"
    url: ClassVar[str] = "https://arxiv.org/abs/2104.14294"
    projector: int = field(default=3, metadata={"help": "layers of the projection head; 0 for none"})
    hidden: int = field(default=2048, metadata={"help": "width of the head's hidden layers"})
    output: int = field(default=256, metadata={"help": "width of the projection"})
    norm: bool = field(default=False, metadata={"help": "batch normalisation in the head (authors' use_bn_in_head)"})
    prototypes: int = field(default=65536, metadata={"help": "outputs of the last layer, whose weights have length 1"})
    temperature: float = field(default=0.1, metadata={"help": "temperature of the student"})
    start_temperature: float = field(default=0.04, metadata={"help": "temperature of the teacher at the start"})
    teacher_temperature: float = field(default=0.07, metadata={"help": "temperature of the teacher after the warm-up"})
    warmup: float = field(default=0.1, metadata={"help": "share of the training in which that temperature rises"})
    momentum: float = field(default=0.996, metadata={"help": "momentum at the start; rises to 1 by a cosine"})
    centre_momentum: float = field(default=0.9, metadata={"help": "momentum of the centre"})

    def __post_init__(self) -> None:
        super().__post_init__()
        share("warmup", self.warmup)

    def learner(self, backbone: nn.Module, dim: int) -> nn.Module:
        """See SSLMethod."""
        import torch

        from .learner import MomentumLearner
        from .losses import Prototypes, mlp

        out = self.output if self.projector else dim
        head = mlp(self.projector, dim, self.hidden, out, last_norm=False, norm=self.norm, gelu=True)
        learner = MomentumLearner(self, backbone, torch.nn.Sequential(head, Prototypes(self.prototypes, out)))
        # Buffers, so that a checkpoint holds them: the centre (K,), and the teacher's temperature at the next step.
        learner.register_buffer("centre", torch.zeros(self.prototypes))
        learner.register_buffer("teacher_temperature", torch.tensor(self._temperature(0.0)))
        return learner

    def loss(self, learner: MomentumLearner, views: Sequence[Tensor], mixed: Mixed | None) -> Tensor:
        """The mean over (student's view, teacher's global view) pairs of different views (DINO, equation 3)."""
        import torch

        queries, keys = learner.queries_and_keys(numbered(views, mixed), key_views(views))
        learner.new_keys = learner.gather(torch.stack([key.mean(0) for key in keys.values()]))
        return learner.over_pairs(queries, keys, mixed)

    def pair(self, learner: MomentumLearner, query: Tensor, keys: Views, view: int, match: Tensor) -> Tensor:
        """The cross-entropy of the teacher's and the student's assignments (DINO, equations 1 and 2)."""
        from .losses import distillation

        aims = (keys[view] - learner.get_buffer("centre")) / learner.get_buffer("teacher_temperature")
        return distillation(query / self.temperature, aims[match])

    def after_step(self, learner: MomentumLearner, fraction: float) -> None:
        """The teacher follows (section 3.1); the centre follows the mean of what the teacher gave the global views of
        all processes (equation 4); the teacher's temperature rises."""
        learner.follow(rising(self.momentum, fraction))
        learner.get_buffer("teacher_temperature").fill_(self._temperature(fraction))
        if learner.new_keys is not None:
            learner.get_buffer("centre").lerp_(learner.new_keys.mean(0), 1 - self.centre_momentum)
            learner.new_keys = None

    def _temperature(self, fraction: float) -> float:
        """The teacher's, when that share of the training is done: a straight line, then level."""
        done = min(1.0, fraction / self.warmup) if self.warmup else 1.0
        return self.start_temperature + done * (self.teacher_temperature - self.start_temperature)
