"""The paper's studies: what happens to a number when one option takes several values?

A study is a matrix of runs with a plot, described in catalogue.toml. `study` reads that file, `runs` makes the runs,
`table` keeps their values (CSV, markdown), `plot` draws them.
"""
