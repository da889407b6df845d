"""FAT12, FAT16 and FAT32: EFI system partitions, and whatever firmware reads.

`build` lays a tree out and writes it, `reader.Fat` is a FileSystem of one that is there. `geometry` has what both know:
clusters, boot sector, limits; `names` the short names of long ones. Source: Microsoft's "FAT32 File System
Specification" 1.03. Others use `build`, `reader` and `geometry`.
"""
