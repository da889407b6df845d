"""Archives of Debian packages: their state, what apt would install of them, and the files of that.

For others: `archive.PackageArchive` (where a suite is), `resolver.Resolver` (what apt would install), and
`package_files.PackageFiles` (the files, by digest, and an archive of these alone to install from).
"""
