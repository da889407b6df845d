"""Commands for the machine that dibo runs on: what is missing there, and what dibo keeps on it."""
