"""What does the paper report? Its numbers, the runs behind them, and its studies."""
