"""What was requested? A preset, changed by what the user sets, checked, and turned into plugin instances."""
