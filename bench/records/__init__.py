"""What came out? The metrics of a run, its record, and how a stranger's record is verified."""
