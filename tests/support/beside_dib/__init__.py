"""diskimage-builder itself, beside dibo: what both make of the same elements."""
