"""Does a plugin keep its promises? Checks of every property of each kind of plugin, on toy data."""

from .checks import assert_contract, contract, run_checks

__all__ = ["assert_contract", "contract", "run_checks"]
