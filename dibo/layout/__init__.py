"""Disk layouts: what users ask of a disk, and where each partition goes.

`parse` reads the statement of one flavour or file, `merge` combines several into a `model.Layout`, `placement` computes
sectors and identifiers from it, `partition_table` encodes these, and `table` prints them. Others use `model`,
`parse_layout`, `merge`, `place` and `draw`. Pure: no clock, no environment, no files.
"""
