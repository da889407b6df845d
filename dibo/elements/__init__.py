"""Elements of diskimage-builder, read into values: what they hold, what they need, and the order in which they stand.

An element is what became of a flavour there. Its dialect is its own: other phases, other rules for the names of hooks,
`element-deps` in place of `needs`. Nothing here runs a script of an element; that is the work of dibo.build.
"""
