"""What happened in one run? One HTML page (`page.report`), a picture, and the table in a terminal.

The page says what happened in five sentences, every number, the images behind them, and where it came from. The same
record, artifacts and records beside it give the same bytes.
"""
