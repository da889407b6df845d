"""What tests build of the elements of diskimage-builder's wheel: groups that share a stack, what each element is to
leave in the image, and which elements are not built, and why."""
