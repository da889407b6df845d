"""What commands say of elements of diskimage-builder, and the images that its own lists describe."""
