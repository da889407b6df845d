"""Types that dibo makes itself of a finished disk or root, besides those that are written while the root is read.

`table.BUILT_IN` has a function for each; their directories in `converters/` have no command.
"""
