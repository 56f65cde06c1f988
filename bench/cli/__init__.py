"""How is the benchmark used from a terminal? One file for each command; only here is anything printed."""
