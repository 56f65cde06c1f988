"""What is to be run? A preset, the chosen plugins and each --set, checked: `config.load_config` makes a `Config`."""
