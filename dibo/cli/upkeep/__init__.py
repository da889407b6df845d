"""Commands that look after this machine: what it lacks, and what dibo keeps on it."""
