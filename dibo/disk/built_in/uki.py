"""The unified kernel image of a root by itself: what `--boot uki` puts on a disk, to update one, or to be started from
the network.

That of the root as it is, else one made of its systemd-stub and its newest kernel. The root that a made one names is
the disk of the same image; DIBO_CMDLINE may name another, since the last root= counts.
"""

from __future__ import annotations

from dibo.boot.entries import bytes_of, entries_of, token_of
from dibo.boot.find import find_boot_parts
from dibo.boot.parts import BootParts
from dibo.boot.systemd_boot import unified_kernels
from dibo.disk.built_in.job import NO_KERNEL_HINT, ConversionJob, find_root_init, with_bytes
from dibo.errors import RootNotBootable


def make_uki(job: ConversionJob) -> None:
    """Raises RootNotBootable, LayoutError for a stub that cannot be used, ConverterError."""
    assert job.root is not None
    parts = find_boot_parts(job.root.node, architecture=job.architecture)
    _require_parts(parts)
    job.target.write_bytes(with_bytes(job.root, lambda: _image(job, parts)))


def _image(job: ConversionJob, parts: BootParts) -> bytes:
    assert job.root is not None
    if parts.unified:
        return bytes_of(parts.unified[0])
    root, init = job.root.node, find_root_init()
    entries = entries_of(root, parts, options=job.options, init=init, epoch=job.identity.time)
    made = unified_kernels(root, parts, entries[:1], token=token_of(root), sign=job.sign)
    (kernel,) = made.values()
    return kernel.image(f"UUID={job.root_uuid}")


def _require_parts(parts: BootParts) -> None:
    if not parts.kernels and not parts.unified:
        raise RootNotBootable(
            "uki: the root has no kernel",
            hint=NO_KERNEL_HINT,
        )
    if not parts.unified and parts.stub is None:
        raise RootNotBootable(
            "uki: the root has neither a unified kernel image nor systemd-stub, of which one is made"
            f" (/usr/lib/systemd/boot/efi/linux*.efi.stub, for {parts.architecture})",
            hint="install systemd-boot-efi (Debian) or systemd-boot-unsigned (Fedora) in the image;"
            " a kit has no systemd-stub",
        )
