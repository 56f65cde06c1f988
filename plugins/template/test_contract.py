"""PluginClass keeps the contract of its kind."""

from plugin_module import PluginClass

from bench.plugins.contract import contract


@contract(PluginClass())
def test_contract() -> None: ...
