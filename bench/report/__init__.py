"""What happened in a run? One HTML page: five sentences, every number, the images behind them, where it came from.

The same record, artifacts and records beside it give the same bytes.
"""
