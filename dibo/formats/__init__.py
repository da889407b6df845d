"""Bytes on disks: reader and writer of each on-disk format side by side; README.md says what there is.

It imports nothing of dibo but `dibo.errors` and `dibo.units`, so it can be used as a library. Others use the modules by
name; what begins with an underscore is private. `magic`, `partitions.gpt` and `qcow2.format` need the standard library
alone: the ramdisk's pull program bundles them.
"""
