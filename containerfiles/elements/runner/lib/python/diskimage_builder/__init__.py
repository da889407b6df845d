"""What scripts of elements import of diskimage-builder, written anew."""
