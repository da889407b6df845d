"""Sources of images: registries, layouts, archives, directories, and the stores of engines.

`table` lists them, `choose.choose_image` opens an image by its reference; others use these two. A source is one module
with a function that takes an `ImageRequest`. `blobs` finds the image for an architecture, `files` and `archive` read
files, `tarindex` and `tarsplit` tars.
"""
