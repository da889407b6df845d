"""Flavours, as their authors write them, and the stack that they make.

For others: `model` (the values), `loader.Catalogue` (finds and reads them), `stack.make_stack`, `lint.lint`, `schema`
(flavour.yaml), `files` (copies of directories, as values), `epoch`, `ramdisk_requests`. A flavour is read once: hashed
while it is copied, so that a value is what the copy has. Nothing here knows of layers, engines or the command line.
"""
