"""The whole root as an initramfs, with its kernel: what machines start from the network, and run in memory.

kernel          as the root has it
root.cpio.zst   the root (.gz for kernels before 5.10); the kernel's argument rdinit=/sbin/init starts its init
boot.ipxe       loads both from where it was loaded itself
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dibo.boot.find import find_boot_parts
from dibo.boot.initramfs import compression_for
from dibo.disk.built_in.job import NO_KERNEL_HINT, ConversionJob, bytes_of_parts, plain_arguments
from dibo.errors import RootNotBootable
from dibo.ramdisk.compress import compress
from dibo.ramdisk.cpio import archive
from dibo.tree.node import Buffer, Node
from dibo.tree.query import find

_SUFFIXES: Final = {"zstd": ".zst", "gzip": ".gz"}
_INITS: Final = ("/init", "/sbin/init", "/usr/lib/systemd/systemd", "/bin/init")


def make_netboot(job: ConversionJob) -> None:
    """Raises RootNotBootable, RamdiskError for a file of more than 4 GiB."""
    assert job.root is not None
    root, spool = job.root.node, job.root.spool
    kernels = find_boot_parts(root, architecture=job.architecture).kernels
    init = next((path for path in _INITS if find(root, path) is not None), None)
    if not kernels or init is None:
        raise RootNotBootable(
            f"netboot: the root has no {'init' if kernels else 'kernel'}",
            hint=NO_KERNEL_HINT,
        )
    kernel = kernels[0]

    def contents(node: Node) -> Iterator[Buffer]:
        return iter(()) if node.content is None else spool.read(node.content)

    (job.target / "kernel").write_bytes(bytes_of_parts(job.root, kernel.image))
    method = compression_for(kernel.version)
    name = f"root.cpio{_SUFFIXES.get(method.method, '')}"
    with (job.target / name).open("wb") as file:
        file.writelines(compress(archive(root, contents, clamp=job.identity.time), method))
    words = " ".join((f"rdinit={init}", *plain_arguments(kernel, job.warn)))
    script = f"#!ipxe\nkernel kernel initrd={name} {words}\ninitrd {name}\nboot\n"
    (job.target / "boot.ipxe").write_text(script)
