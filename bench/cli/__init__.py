"""What does the user type? One file for each command; only here is anything printed."""
