"""Servers on loopback for the time of a test: real ones, and fake ones with injected faults."""
