"""Bakes: many images as one graph. `planning` makes the graph of images, `run_task` carries out one task of it in a
process of its own, `local` runs all of them on this machine.
"""
