"""The structures of ext2, ext3 and ext4 that reader and writer share: names, offsets and bits as the kernel has them.

Linux kernel documentation, filesystems/ext4: super.rst, group_descr.rst, inodes.rst, attributes.rst.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from dibo.formats.labels import LIMITS

SUPERBLOCK_AT: Final = 1024
SUPERBLOCK_SIZE: Final = 1024
LABEL_BYTES: Final = LIMITS["ext4"]


class Compatible:
    """s_feature_compat."""

    HAS_JOURNAL: Final = 0x4
    EXT_ATTR: Final = 0x8
    RESIZE_INODE: Final = 0x10
    DIR_INDEX: Final = 0x20
    SPARSE_SUPER2: Final = 0x200


class Incompatible:
    """s_feature_incompat."""

    FILETYPE: Final = 0x2
    RECOVER: Final = 0x4
    META_BG: Final = 0x10
    EXTENTS: Final = 0x40
    BITS_64: Final = 0x80
    MMP: Final = 0x100
    FLEX_BG: Final = 0x200
    EA_INODE: Final = 0x400
    CSUM_SEED: Final = 0x2000
    LARGEDIR: Final = 0x4000
    INLINE_DATA: Final = 0x8000
    ENCRYPT: Final = 0x10000
    CASEFOLD: Final = 0x20000


class ReadOnly:
    """s_feature_ro_compat."""

    SPARSE_SUPER: Final = 0x1
    LARGE_FILE: Final = 0x2
    HUGE_FILE: Final = 0x8
    DIR_NLINK: Final = 0x20
    EXTRA_ISIZE: Final = 0x40
    METADATA_CSUM: Final = 0x400


class InodeFlags:
    """i_flags."""

    ENCRYPTED: Final = 0x800
    INDEXED: Final = 0x1000
    EXTENTS: Final = 0x80000
    INLINE_DATA: Final = 0x10000000


class Fields:
    """Fields of a little-endian structure by name: offset, and format as in the module struct."""

    def __init__(self, **fields: tuple[int, str]) -> None:
        self._fields = {name: (offset, struct.Struct(f"<{form}")) for name, (offset, form) in fields.items()}

    def put(self, block: bytearray, **values: int | bytes) -> None:
        for name, value in values.items():
            offset, form = self._fields[name]
            form.pack_into(block, offset, value)

    def get(self, data: bytes, name: str) -> Any:
        offset, form = self._fields[name]
        return form.unpack_from(data, offset)[0]

    def offset(self, name: str) -> int:
        return self._fields[name][0]


SUPERBLOCK: Final = Fields(
    s_inodes_count=(0x00, "I"),
    s_blocks_count_lo=(0x04, "I"),
    s_r_blocks_count_lo=(0x08, "I"),
    s_free_blocks_count_lo=(0x0C, "I"),
    s_free_inodes_count=(0x10, "I"),
    s_first_data_block=(0x14, "I"),
    s_log_block_size=(0x18, "I"),
    s_log_cluster_size=(0x1C, "I"),
    s_blocks_per_group=(0x20, "I"),
    s_clusters_per_group=(0x24, "I"),
    s_inodes_per_group=(0x28, "I"),
    s_wtime=(0x30, "I"),
    s_max_mnt_count=(0x36, "H"),
    s_magic=(0x38, "2s"),
    s_state=(0x3A, "H"),
    s_errors=(0x3C, "H"),
    s_lastcheck=(0x40, "I"),
    s_rev_level=(0x4C, "I"),
    s_first_ino=(0x54, "I"),
    s_inode_size=(0x58, "H"),
    s_block_group_nr=(0x5A, "H"),
    s_feature_compat=(0x5C, "I"),
    s_feature_incompat=(0x60, "I"),
    s_feature_ro_compat=(0x64, "I"),
    s_uuid=(0x68, "16s"),
    s_volume_name=(0x78, "16s"),
    s_reserved_gdt_blocks=(0xCE, "H"),
    s_journal_inum=(0xE0, "I"),
    s_hash_seed=(0xEC, "16s"),
    s_def_hash_version=(0xFC, "B"),
    s_jnl_backup_type=(0xFD, "B"),
    s_desc_size=(0xFE, "H"),
    s_default_mount_opts=(0x100, "I"),
    s_first_meta_bg=(0x104, "I"),
    s_mkfs_time=(0x108, "I"),
    s_jnl_blocks=(0x10C, "60s"),
    s_jnl_size_high=(0x148, "I"),
    s_jnl_size_low=(0x14C, "I"),
    s_blocks_count_hi=(0x150, "I"),
    s_r_blocks_count_hi=(0x154, "I"),
    s_free_blocks_count_hi=(0x158, "I"),
    s_min_extra_isize=(0x15C, "H"),
    s_want_extra_isize=(0x15E, "H"),
    s_flags=(0x160, "I"),
    s_log_groups_per_flex=(0x174, "B"),
    s_checksum_type=(0x175, "B"),
    s_kbytes_written=(0x178, "Q"),
    s_overhead_clusters=(0x248, "I"),
    s_backup_bg_0=(0x24C, "I"),
    s_backup_bg_1=(0x250, "I"),
    s_wtime_hi=(0x274, "B"),
    s_mkfs_time_hi=(0x276, "B"),
    s_lastcheck_hi=(0x277, "B"),
)
GROUP: Final = Fields(bg_inode_table_lo=(0x08, "I"), bg_inode_table_hi=(0x28, "I"))
GROUP_SIZE: Final = 32
"""Bytes of a group descriptor without 64bit."""
GROUP_SIZE_64: Final = 64
INODE: Final = Fields(
    i_mode=(0x00, "H"),
    i_uid=(0x02, "H"),
    i_size_lo=(0x04, "I"),
    i_mtime=(0x10, "I"),
    i_gid=(0x18, "H"),
    i_blocks_lo=(0x1C, "I"),
    i_flags=(0x20, "I"),
    i_block=(0x28, "60s"),
    i_file_acl_lo=(0x68, "I"),
    i_size_high=(0x6C, "I"),
    i_file_acl_high=(0x76, "H"),
    i_uid_high=(0x78, "H"),
    i_gid_high=(0x7A, "H"),
    i_extra_isize=(0x80, "H"),
    i_mtime_extra=(0x88, "I"),
)
INODE_SIZE: Final = 128
"""Bytes of an inode of ext2, and of the first part of every other."""
ATTRIBUTES_MAGIC: Final = 0xEA020000
ATTRIBUTE: Final = struct.Struct("<BBHIII")
"""e_name_len, e_name_index, e_value_offs, e_value_inum, e_value_size, e_hash; the name follows, padded to 4 bytes."""
