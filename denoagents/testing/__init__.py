"""The kit for testing fleets: virtual time and a network in memory; no product code imports it."""
