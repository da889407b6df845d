"""File systems that programs of this machine make, without root: mke2fs, mkfs.xfs, mkfs.btrfs."""
