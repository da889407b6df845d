"""Commands about elements of diskimage-builder."""
