"""A bootable disk, from the wish to the bytes.

    layout ──placement──► Placement ──image──► a raw file: MBR, GPT, boot sector, core image, FAT
    (the wish)            (in sectors)         (the root file system is written beside it, by others)

Everything here is arithmetic on bytes: no process is started, nothing is mounted, no clock is read and no
random number drawn. The same wish, size and identity give the same bytes.
"""
