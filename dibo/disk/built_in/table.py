"""The types that dibo makes itself of a finished disk or root. A new one is a function, a line here, and a directory in
`converters/` without a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from dibo.disk.built_in import microvm, ovf
from dibo.disk.built_in.appliances import make_ova, make_vagrant_virtualbox
from dibo.disk.built_in.boxes import make_container_disk, make_vagrant_libvirt
from dibo.disk.built_in.directory import make_directory
from dibo.disk.built_in.erofs import ErofsImage
from dibo.disk.built_in.iso import make_iso
from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.netboot import make_netboot
from dibo.disk.built_in.uki import make_uki
from dibo.formats.streams.compressed import COMPRESSIONS, write_gzip
from dibo.formats.streams.gnu_sparse import sparse_tar
from dibo.formats.vm_disks.vmdk import write_vmdk
from dibo.tree.node import Node
from dibo.units import MIB

Make = Callable[[ConversionJob], None]
"""Raises UsageError, OutputError, OSError, and what dibo.errors has for what cannot be made of a root."""


def _compressed(kind: str, job: ConversionJob) -> None:
    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        COMPRESSIONS[kind](disk, target)


def _vmdk(job: ConversionJob) -> None:
    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        write_vmdk(disk, job.size, target, identity=job.identity)


def _gce(job: ConversionJob) -> None:
    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        write_gzip(sparse_tar(disk, name="disk.raw", time=job.identity.time), target, piece=MIB)


BUILT_IN: Final[dict[str, Make]] = {
    "raw.gz": partial(_compressed, "gz"),
    "raw.xz": partial(_compressed, "xz"),
    "raw.zst": partial(_compressed, "zst"),
    "vmdk": _vmdk,
    "gce": _gce,
    "ova": make_ova,
    "vagrant-virtualbox": make_vagrant_virtualbox,
    "vagrant-libvirt": make_vagrant_libvirt,
    "containerdisk": make_container_disk,
    "microvm": microvm.make_microvm,
    "netboot": make_netboot,
    "uki": make_uki,
    "iso": make_iso,
    "directory": make_directory,
}

STREAMED: Final[dict[str, type[ErofsImage]]] = {"erofs": ErofsImage}
"""Types that are written while the root is read."""

OPTION_CHECKS: Final[dict[str, Callable[[Mapping[str, str]], None]]] = {
    "microvm": microvm.check_options,
    "ova": ovf.check_options,
    "vagrant-virtualbox": ovf.check_options,
}
"""What refuses variables of a type before anything is read or built. They raise UsageError."""

ROOT_CHECKS: Final[dict[str, Callable[[Node, str], None]]] = {"microvm": microvm.check_root}
"""What refuses a root, for machines of an architecture, before any type is made of it. They raise RootNotBootable."""

NOT_WITH_A_KIT: Final[dict[str, str]] = {
    "iso": "the boot loaders of a kit are for disks",
    "uki": "a kit has no systemd-stub",
    "netboot": "what runs from memory has no disk for the kit's initramfs to find",
}
"""Types that need of a root what no kit brings, and why."""
