"""Strict readers of what dibo writes, sharing no code with the writers."""
