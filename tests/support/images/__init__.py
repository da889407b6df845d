"""Container images made by other tools or byte by byte, and oracles of their content."""
