"""Disks and file systems to write to and read from."""
