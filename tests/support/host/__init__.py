"""This host as tests use it: build environments, confinement, snapshots of its state."""
