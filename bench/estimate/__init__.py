"""How long will it take? The time of stages that are not in the store, on this machine and on GPUs not at hand."""
