"""What does the paper say? Its numbers, the runs behind them, and its studies."""
