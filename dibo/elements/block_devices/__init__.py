"""The disks that elements describe: block-device-ARCH.yaml, block-device-default.yaml, DIB_BLOCK_DEVICE_CONFIG.

    choose     which of them counts
    graph      a tree or a graph of plugins, as nodes with names and bases
    devices    the nodes checked
    model      the result: disk, partitions, file systems, mounts, lines of fstab
    to_layout  these as a layout of dibo

All plugins but lvm are read: local_loop, partitioning, mkfs, mount, fstab.
"""
