"""Container images: where they are, what they say of themselves, and their layers.

`image` has the values that all others share; `sources/` opens images wherever they are, `registry/` talks to
registries, `layers/` reads layers into a tree. `reference` parses names, `platforms` chooses one of several images,
`documents` and `manifest` read manifests, `layout_writer` writes OCI layouts.
"""
