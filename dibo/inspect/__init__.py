"""What is inside a disk image: its format, partitions, file systems and files, read in Python and never mounted.

    a file ── raw, or qcow2 (others: qemu-img makes them raw) ──► Source: bytes of the disk
    Source ── GPT, MBR, or no table ──► volumes ── ext2/3/4, FAT (others: guestfish) ──► FileSystem ──► kernels

Every byte of an image may be a trap. Readers check each offset and count before they use it, follow nothing in
circles, keep to limits of their own, and know one way to fail: DiskImageError.
"""
