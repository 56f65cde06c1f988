"""Both plugins keep the contract of their kind, whatever their options."""

from gaudy.attack import Confetti
from gaudy.defense import Gaudy

from bench.plugins.contract import contract


@contract(Confetti(), Confetti(cells=2, cell=1, target="toy4"))
def test_attack() -> None: ...


@contract(Gaudy(), Gaudy(share=0.3, window=0.1))
def test_defense() -> None: ...
