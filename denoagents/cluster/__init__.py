"""Membership, failure detection, placement and hand-over: pure state machines, time passed in."""
