"""The types that dibo makes itself of a finished disk or root. A new one is a function, a line here, and a directory in
`converters/` without a command. The module that makes a type is imported when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dibo.tree.node import Node
from dibo.units import MIB

if TYPE_CHECKING:
    from dibo.disk.built_in.erofs import ErofsImage
    from dibo.disk.built_in.job import ConversionJob
    from dibo.formats.vm_disks.identity import ImageIdentity

Make = Callable[["ConversionJob"], None]
"""Raises UsageError, OutputError, OSError, and what dibo.errors has for what cannot be made of a root."""


def _compressed(kind: str, job: ConversionJob) -> None:
    from dibo.formats.streams.compressed import COMPRESSIONS

    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        COMPRESSIONS[kind](disk, target)


def _vmdk(job: ConversionJob) -> None:
    from dibo.formats.vm_disks.vmdk import write_vmdk

    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        write_vmdk(disk, job.size, target, identity=job.identity)


def _gce(job: ConversionJob) -> None:
    from dibo.formats.streams.compressed import write_gzip
    from dibo.formats.streams.gnu_sparse import sparse_tar

    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        write_gzip(sparse_tar(disk, name="disk.raw", time=job.identity.time), target, piece=MIB)


def _ova(job: ConversionJob) -> None:
    from dibo.disk.built_in.appliances import make_ova

    make_ova(job)


def _vagrant_virtualbox(job: ConversionJob) -> None:
    from dibo.disk.built_in.appliances import make_vagrant_virtualbox

    make_vagrant_virtualbox(job)


def _vagrant_libvirt(job: ConversionJob) -> None:
    from dibo.disk.built_in.boxes import make_vagrant_libvirt

    make_vagrant_libvirt(job)


def _containerdisk(job: ConversionJob) -> None:
    from dibo.disk.built_in.boxes import make_container_disk

    make_container_disk(job)


def _microvm(job: ConversionJob) -> None:
    from dibo.disk.built_in.microvm import make_microvm

    make_microvm(job)


def _netboot(job: ConversionJob) -> None:
    from dibo.disk.built_in.netboot import make_netboot

    make_netboot(job)


def _uki(job: ConversionJob) -> None:
    from dibo.disk.built_in.uki import make_uki

    make_uki(job)


def _iso(job: ConversionJob) -> None:
    from dibo.disk.built_in.iso import make_iso

    make_iso(job)


def _directory(job: ConversionJob) -> None:
    from dibo.disk.built_in.directory import make_directory

    make_directory(job)


def _erofs(path: Path, *, identity: ImageIdentity, name: Path) -> ErofsImage:
    from dibo.disk.built_in.erofs import ErofsImage

    return ErofsImage(path, identity=identity, name=name)


def _check_microvm_options(options: Mapping[str, str]) -> None:
    from dibo.disk.built_in.microvm import check_options

    check_options(options)


def _check_appliance_options(options: Mapping[str, str]) -> None:
    from dibo.disk.built_in.ovf import check_options

    check_options(options)


def _check_microvm_root(root: Node, architecture: str) -> None:
    from dibo.disk.built_in.microvm import check_root

    check_root(root, architecture)


BUILT_IN: Final[dict[str, Make]] = {
    "raw.gz": partial(_compressed, "gz"),
    "raw.xz": partial(_compressed, "xz"),
    "raw.zst": partial(_compressed, "zst"),
    "vmdk": _vmdk,
    "gce": _gce,
    "ova": _ova,
    "vagrant-virtualbox": _vagrant_virtualbox,
    "vagrant-libvirt": _vagrant_libvirt,
    "containerdisk": _containerdisk,
    "microvm": _microvm,
    "netboot": _netboot,
    "uki": _uki,
    "iso": _iso,
    "directory": _directory,
}

STREAMED: Final = {"erofs": _erofs}
"""Types that are written while the root is read."""

OPTION_CHECKS: Final[dict[str, Callable[[Mapping[str, str]], None]]] = {
    "microvm": _check_microvm_options,
    "ova": _check_appliance_options,
    "vagrant-virtualbox": _check_appliance_options,
}
"""What refuses variables of a type before anything is read or built. They raise UsageError."""

ROOT_CHECKS: Final[dict[str, Callable[[Node, str], None]]] = {"microvm": _check_microvm_root}
"""What refuses a root, for machines of an architecture, before any type is made of it. They raise RootNotBootable."""

NOT_WITH_A_KIT: Final[dict[str, str]] = {
    "iso": "the boot loaders of a kit are for disks",
    "uki": "a kit has no systemd-stub",
    "netboot": "what runs from memory has no disk for the kit's initramfs to find",
}
"""Types that need of a root what no kit brings, and why."""
