"""A finished disk, from front to back: what compresses and packs it in one reading, holes left out.

`disk_file` reads a sparse file in pieces of a fixed size, `in_threads` works on them in several threads and keeps their
order, `compressed` makes .gz, .xz and .zst of them, `gnu_sparse` the tar that Google takes.
"""
