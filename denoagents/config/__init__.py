"""The plan's keys and ours: read from file, environment and flags, shown with their origin."""
