"""A root file system in memory: a tree of nodes, without the bytes of most files.

`node` has Node and Contents, where bytes go; `query` finds paths and facts in a tree, `mounts` cuts it where several
file systems meet, `sinks` has simple Contents, `dpkg` and `kernel_versions` read what packages say. Pure: nothing here
opens a file.
"""
