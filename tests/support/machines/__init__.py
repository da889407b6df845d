"""Virtual machines that boot what dibo made."""
