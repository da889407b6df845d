"""Appliances in one tar: OVA, for VMware, VirtualBox and virt-v2v, and boxes of Vagrant for VirtualBox.

    NAME.ovf    the descriptor, first (DSP0243, 5.3)          box.ovf        of Vagrant: any order
    NAME.mf     SHA256(FILE)= digest of both others           metadata.json  {"provider": "virtualbox"}
    NAME.vmdk   stream-optimised                              Vagrantfile    the address of the first card, in base_mac
                                                              disk.vmdk

The descriptor says how long the disk is, which is known last: room of its size is left, the disk is written behind it
in one pass, and what precedes it comes in the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.members import END, Hashing, member, member_header, padding
from dibo.disk.built_in.ovf import Appliance, appliance, descriptor
from dibo.formats import magic
from dibo.formats.vm_disks.vmdk import write_vmdk
from dibo.units import SECTOR

_MOST: Final = (1 << 63) - 1
"""A size of the disk that takes as many digits as any."""
Files = Sequence[tuple[str, bytes]]


def make_ova(job: ConversionJob) -> None:
    """Raises UsageError, OutputError."""
    machine = _machine(job, job.name, f"{job.name}.vmdk")

    def first(size: int, digest: str) -> Files:
        ovf = _padded_descriptor(machine, size)
        name = f"{job.name}.ovf"
        sums = f"SHA256({name})= {hashlib.sha256(ovf).hexdigest()}\nSHA256({machine.disk})= {digest}\n"
        return (name, ovf), (f"{job.name}.mf", sums.encode())

    _pack(job, machine.disk, first)


def make_vagrant_virtualbox(job: ConversionJob) -> None:
    """Raises UsageError, OutputError."""
    machine = _machine(job, job.name, "disk.vmdk")
    address = "080027" + job.identity.uuid.hex[:6].upper()

    def first(size: int, _digest: str) -> Files:
        vagrantfile = f'Vagrant.configure("2") do |config|\n  config.vm.base_mac = "{address}"\nend\n'
        return (
            ("metadata.json", json.dumps({"provider": "virtualbox"}).encode()),
            ("Vagrantfile", vagrantfile.encode()),
            ("box.ovf", _padded_descriptor(machine, size)),
        )

    _pack(job, machine.disk, first)


def _machine(job: ConversionJob, name: str, disk: str) -> Appliance:
    return appliance(name, disk, size=job.size, options=job.options, is_efi_only=not _boots_by_bios(job))


def _boots_by_bios(job: ConversionJob) -> bool:
    """Whether there is code in the first sector, before the disk's own identifiers."""
    with job.source.open("rb") as disk:
        return any(disk.read(magic.DISK_SIGNATURE_AT))


def _padded_descriptor(machine: Appliance, size: int) -> bytes:
    """As long for any size of the disk: blank lines may follow the last element (XML 1.0, 2.1)."""
    longest = len(descriptor(machine, disk_bytes=_MOST).encode())
    return descriptor(machine, disk_bytes=size).encode().ljust(longest, b"\n")


def _pack(job: ConversionJob, disk: str, first: Callable[[int, str], Files]) -> None:
    """A tar of `first`, which gets the size and the sha256 of the vmdk, and of the vmdk under the name `disk`."""
    time = job.identity.time

    def head(size: int, digest: str) -> bytes:
        files = b"".join(member(name, data, time=time) for name, data in first(size, digest))
        return files + member_header(disk, size, time=time)

    with job.source.open("rb") as source, job.target.open("r+b") as target:
        target.seek(len(head(0, "0" * 64)))
        size, digest = _write_disk(source, target, job)
        target.write(padding(size) + END)
        target.seek(0)
        target.write(head(size, digest))


def _write_disk(source: BinaryIO, target: BinaryIO, job: ConversionJob) -> tuple[int, str]:
    out = Hashing(target)
    write_vmdk(source, job.size, out, identity=job.identity)
    assert out.size % SECTOR == 0
    return out.size, out.digest
