"""How long labels of file systems may be, in bytes: what the field of each superblock holds."""

from __future__ import annotations

from typing import Final

LIMITS: Final = {
    "vfat": 11,  # BS_VolLab; Microsoft's FAT specification, 3.1
    "ext2": 16,  # s_volume_name; filesystems/ext4/super.rst
    "ext3": 16,
    "ext4": 16,
    "xfs": 12,  # sb_fname; fs/xfs/libxfs/xfs_format.h
    "btrfs": 255,  # BTRFS_LABEL_SIZE, with its NUL; include/uapi/linux/btrfs_tree.h
    "swap": 15,  # 16 with the NUL that mkswap(8) leaves
}
