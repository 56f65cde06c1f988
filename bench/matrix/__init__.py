"""How are many runs made together? A file of runs, their stages as one graph, each made once."""
