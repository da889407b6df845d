"""Conversions of several images at once: `many` has the functions; `worker` is the program that its processes run.

Each image is converted by a process of its own run, as `dibo convert` does it. What they share are layers that several
of the images have: one process reads such a layer (dibo.images.layers.unpacked), and all others use what it read.
"""
