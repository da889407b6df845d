"""Layers become a tree: read, checked, decompressed, parsed and flattened in one pass, from the highest to the lowest.

`dibo.images.layers.load` is the way in. Nothing is unpacked: names and attributes become Nodes in memory, and
the bytes of
files go into a Contents sink while they stream by.
"""
