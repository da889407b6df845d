"""The superblock: 1024 bytes, in the first block at byte 1024, in its copies at byte 0
(kernel documentation, filesystems/ext4/super.rst).

Features are those that mke2fs gives ext4 by default, but for orphan_file and metadata_csum_seed, which GRUB 2.06 and
older kernels do not know: has_journal, ext_attr, resize_inode, dir_index; filetype, extent, 64bit, flex_bg;
sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
"""

from __future__ import annotations

from typing import Final

from dibo.formats import magic
from dibo.formats.ext4.checksum import extend, stored
from dibo.formats.ext4.groups import Descriptors
from dibo.formats.ext4.layout import (
    BLOCK,
    DESCRIPTOR,
    FIRST_INODE,
    FLEX,
    GROUP,
    INODE,
    Ext4Layout,
    Parameters,
)
from dibo.formats.ext4.structures import SUPERBLOCK, SUPERBLOCK_SIZE, Compatible, Incompatible, ReadOnly

JOURNAL: Final = 8
"""The journal's inode."""
_LOW: Final = 0xFFFFFFFF
_COMPATIBLE: Final = Compatible.EXT_ATTR | Compatible.RESIZE_INODE | Compatible.DIR_INDEX
_INCOMPATIBLE: Final = (
    Incompatible.FILETYPE | Incompatible.EXTENTS | Incompatible.BITS_64 | Incompatible.FLEX_BG
)
_READ_ONLY_COMPATIBLE: Final = (
    ReadOnly.SPARSE_SUPER
    | ReadOnly.LARGE_FILE
    | ReadOnly.HUGE_FILE
    | ReadOnly.DIR_NLINK
    | ReadOnly.EXTRA_ISIZE
    | ReadOnly.METADATA_CSUM
)
_LOG_BLOCK: Final = 2
"""Blocks, and clusters, of 2**(10 + 2) bytes."""
_CLEAN: Final = 1
_REMOUNT_READ_ONLY: Final = 2
"""What the kernel does about errors: Debian's and Ubuntu's images say so, where mke2fs says continue."""
_NO_CHECK: Final = 0xFFFF
"""Mounts before a check: no number of them."""
_DYNAMIC: Final = 1
_HALF_MD4: Final = 1
_USER_XATTR: Final = 0x4
_ACL: Final = 0x8
_EXTRA_INODE_SIZE: Final = 32
_SIGNED_HASHES: Final = 1
_CRC32C: Final = 1
_BACKUP_OF_INODE: Final = 1
_ALWAYS: Final[dict[str, int | bytes]] = {
    "s_log_block_size": _LOG_BLOCK,
    "s_log_cluster_size": _LOG_BLOCK,
    "s_blocks_per_group": GROUP,
    "s_clusters_per_group": GROUP,
    "s_magic": magic.EXT,
    "s_state": _CLEAN,
    "s_errors": _REMOUNT_READ_ONLY,
    "s_max_mnt_count": _NO_CHECK,
    "s_rev_level": _DYNAMIC,
    "s_first_ino": FIRST_INODE,
    "s_inode_size": INODE,
    "s_feature_incompat": _INCOMPATIBLE,
    "s_feature_ro_compat": _READ_ONLY_COMPATIBLE,
    "s_def_hash_version": _HALF_MD4,
    "s_desc_size": DESCRIPTOR,
    "s_default_mount_opts": _USER_XATTR | _ACL,
    "s_min_extra_isize": _EXTRA_INODE_SIZE,
    "s_want_extra_isize": _EXTRA_INODE_SIZE,
    "s_flags": _SIGNED_HASHES,
    "s_log_groups_per_flex": FLEX.bit_length() - 1,
    "s_checksum_type": _CRC32C,
}
"""What no parameter decides."""


def superblock(
    parameters: Parameters,
    layout: Ext4Layout,
    groups: Descriptors,
    *,
    inodes_per_group: int,
    overhead: int,
    journal: bytes,
) -> bytearray:
    """Without group number and checksum, which `copy_for` fills in. `overhead`: blocks that never are a file's.
    `journal`: the 60 bytes of its extent tree, a backup."""
    reserved = int(layout.blocks * parameters.reserved_percent / 100)
    free_blocks = groups.free_blocks
    journal_size = layout.journal_blocks * BLOCK
    block = bytearray(SUPERBLOCK_SIZE)
    SUPERBLOCK.put(
        block,
        s_inodes_count=layout.groups * inodes_per_group,
        s_blocks_count_lo=layout.blocks & _LOW,
        s_blocks_count_hi=layout.blocks >> 32,
        s_r_blocks_count_lo=reserved & _LOW,
        s_r_blocks_count_hi=reserved >> 32,
        s_free_blocks_count_lo=free_blocks & _LOW,
        s_free_blocks_count_hi=free_blocks >> 32,
        s_free_inodes_count=groups.free_inodes,
        s_inodes_per_group=inodes_per_group,
        s_feature_compat=_COMPATIBLE | (Compatible.HAS_JOURNAL if journal else 0),
        s_uuid=parameters.uuid.bytes,
        s_volume_name=parameters.label.encode(),
        s_reserved_gdt_blocks=layout.reserved_descriptor_blocks,
        s_hash_seed=parameters.hash_seed.bytes,
        s_kbytes_written=(layout.blocks - free_blocks) * BLOCK // 1024,
        s_overhead_clusters=overhead,
        **_ALWAYS,
    )
    for name in ("s_wtime", "s_lastcheck", "s_mkfs_time"):
        SUPERBLOCK.put(block, **{name: parameters.time & _LOW, f"{name}_hi": parameters.time >> 32})
    if journal:
        SUPERBLOCK.put(
            block,
            s_journal_inum=JOURNAL,
            s_jnl_backup_type=_BACKUP_OF_INODE,
            s_jnl_blocks=journal,
            s_jnl_size_high=journal_size >> 32,
            s_jnl_size_low=journal_size & _LOW,
        )
    return block


def copy_for(block: bytearray, group: int) -> bytes:
    """The copy of the superblock in `group`."""
    SUPERBLOCK.put(block, s_block_group_nr=min(group, 0xFFFF))
    body = bytes(block[:-4])
    return body + stored(extend(0, body)).to_bytes(4, "little")
