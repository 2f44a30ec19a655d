"""What outlives a process: so far the broker's own records."""
