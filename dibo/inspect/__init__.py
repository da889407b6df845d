"""What is inside a disk image: its format, partitions, file systems and files, read in Python and never mounted.

    a file ── raw, or qcow2 (others: qemu-img makes them raw) ──► Source: bytes of the disk
    Source ── GPT, MBR, or no table ──► volumes ── ext2/3/4, FAT (others: guestfish) ──► FileSystem ──► kernels

Others use `open_image` (opened, image_format, image_info), `volumes`, `kernels`, `cmdline` and `compare`.

Every byte of an image may be a trap. Readers check each offset and count before they use it, follow nothing in
circles, keep to limits of their own, and know one way to fail: DiskImageError.
"""
