"""Partition tables: GPT (UEFI 2.10, chapter 5) and MBR (as fdisk of util-linux writes it).

`gpt` and `mbr` have the bytes and take plain entries, `reader` tells where the volumes of any disk are, `identifiers`
gives a copy of a disk identifiers of its own. How a layout becomes entries is dibo/layout/partition_table.py. `gpt`
needs the standard library alone.
"""
