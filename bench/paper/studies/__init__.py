"""Studies: one question each, asked by a row of runs on one store. Each study is data (catalogue.py); the rest is the
engine that makes the stages it needs (plan.py, engine.py) and what it leaves (report.py, plot.py)."""
