"""PluginClass keeps the contract of its kind."""

from plugin_module import PluginClass

from bench.plugins.checks import contract


@contract(PluginClass())
def test_contract() -> None: ...
