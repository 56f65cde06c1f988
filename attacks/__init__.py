"""The built-in attacks; they reach the harness as anybody's do, by an entry point."""

from __future__ import annotations

from bench import Attack, hookimpl


@hookimpl
def bench_attacks() -> list[type[Attack]]:
    """The attacks of this folder."""
    from .blend import Blend
    from .corrupt_encoder import CorruptEncoder
    from .ctrl import CTRL
    from .fiba import FIBA
    from .htba import HTBA, HTBAMuted, HTBAVaried, NoAttack
    from .multi_target import MultiTarget, MultiTargetMuted
    from .noisy_alignment import NoisyAlignment
    from .sig import SIG

    patches: list[type[Attack]] = [HTBA, HTBAMuted, HTBAVaried, MultiTarget, MultiTargetMuted]
    return [*patches, Blend, SIG, FIBA, CTRL, CorruptEncoder, NoisyAlignment, NoAttack]
