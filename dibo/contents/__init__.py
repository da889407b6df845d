"""What is in an image, whatever its form: packages, files, units, users, sizes; and the differences of two.

    a name ── form ──► a tree of Nodes, and where its bytes are ──► Inventory ── compare ──► Comparison

    form       container image, disk image, tar, directory, initramfs; a manifest names an artefact beside it
    tree       dibo.tree.node: layers are flattened, file systems of disks are mounted as /etc/fstab says

Others use `read` (open_contents, read_inventory), `inventory` and `compare`; other modules read one form or one
subject each. Nothing is unpacked, mounted or run. Whatever an image says may be a trap: readers keep to limits, and
texts of an image go to a terminal or a page through `dibo.system.terminal.without_controls` and `html.escape` alone.
"""
