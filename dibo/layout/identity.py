"""Identifiers that are the same whenever the same image is made into a disk.

A disk carries a dozen numbers that tools usually draw at random. Here each is a uuid5 (RFC 9562, 5.5) of the
image's identity (its digest), the partition's name and what the number is for. Two images never share one,
and one image converted twice is the same disk, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

NAMESPACE = UUID("2c6d0a53-53b8-5e0c-9d5b-9b0f6e4f6a3e")  # drawn once; another one changes every disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """The numbers of one partition and the file system in it."""

    guid: UUID
    """Of the partition: PARTUUID."""
    filesystem_uuid: UUID
    hash_seed: UUID
    """Of ext4's directory index."""
    fat_serial: int
    """Of a FAT, 32 bits: a file-system UUID of the form 1A2B-3C4D."""


def disk_guid(identity: str) -> UUID:
    return _derive(identity, "", "disk")


def identify(identity: str, name: str) -> Identifiers:
    """The identifiers of the partition `name` (or of a bare file system) on the disk made of `identity`."""
    return Identifiers(
        guid=_derive(identity, name, "partition"),
        filesystem_uuid=_derive(identity, name, "filesystem"),
        hash_seed=_derive(identity, name, "hash-seed"),
        fat_serial=int.from_bytes(_derive(identity, name, "fat-serial").bytes[:4], "big"),
    )


def _derive(identity: str, name: str, purpose: str) -> UUID:
    return uuid5(NAMESPACE, "\0".join((identity, name, purpose)))
