"""How are many runs made together? As one graph of stages: each stage is made once, by one process, several, or Ray."""
