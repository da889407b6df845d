"""What a boot loader offers: each kernel with its initramfs and its arguments, the newest first.

Where the tree has no initramfs for any kernel, the newest gets one that dibo makes (dibo.boot.initramfs).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.boot.initramfs import BytesMissing, make_initramfs
from dibo.boot.parts import BootKernel, BootParts, Part, part_at
from dibo.errors import RootNotBootable
from dibo.tree.node import Node
from dibo.tree.query import names_in, os_release

_CONSOLES: Final = {"arm64": "ttyAMA0", "riscv64": "ttyS0", "armhf": "ttyAMA0"}
_OF_ANOTHER_MACHINE: Final = ("root=", "rootflags=", "resume=", "BOOT_IMAGE=", "initrd=")
_COMMAND_LINES: Final = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline")
_ARGUMENTS: Final = ("/usr/lib/bootc/kargs.d", "/etc/bootc/kargs.d")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UNSAFE: Final = re.compile(r"[^!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """One kernel. `arguments` are without its root, and with `ro` or `rw`."""

    kernel: BootKernel
    title: str
    arguments: str
    made: bytes | None = None
    """The initramfs, where dibo made it."""

    @property
    def image(self) -> bytes:
        return bytes_of(self.kernel.image)

    @property
    def initramfs(self) -> tuple[bytes, ...]:
        """Archives that belong one behind the other."""
        return (self.made,) if self.made is not None else tuple(map(bytes_of, self.kernel.initramfs))

    @property
    def joined(self) -> bytes:
        """All archives in one, each from a multiple of four bytes on, as the kernel looks for the next."""
        *before, last = self.initramfs
        return b"".join([*(archive + bytes(-len(archive) % 4) for archive in before), last])


def bytes_of(part: Part) -> bytes:
    """Raises BytesMissing where the tree was loaded without them."""
    if part.data is None:
        raise BytesMissing((part.node,))
    return part.data


def entries_of(
    root: Node, parts: BootParts, *, options: Mapping[str, str], init: bytes, epoch: int
) -> tuple[MenuEntry, ...]:
    """What can be offered of the kernels in `parts`: all that have an initramfs, or else one. `options` may have
    DIBO_CMDLINE; `init` is for the initramfs, `epoch` in seconds since 1970. Raises RootNotBootable, BytesMissing."""
    name = os_release(root).get("PRETTY_NAME", "Linux").replace("'", "")
    given = command_line(root, parts.architecture, options)
    asked = options.get("DIBO_CMDLINE", "").split()
    mode = next((word for word in reversed(asked) if word in ("ro", "rw")), "ro")

    def entry(kernel: BootKernel, made: bytes | None = None) -> MenuEntry:
        words = [*given.split(), *(word for word in kernel.arguments if word not in ("ro", "rw"))]
        arguments = " ".join([mode, *dict.fromkeys(word for word in words if word not in ("ro", "rw"))])
        return MenuEntry(
            kernel=kernel, title=f"{name}, Linux {kernel.version}", arguments=arguments, made=made
        )

    entries = tuple(entry(kernel) for kernel in parts.kernels if kernel.initramfs)
    if entries or not parts.kernels:
        return entries
    kernel = next((kernel for kernel in parts.kernels if kernel.modules is not None), None)
    if kernel is None:
        raise RootNotBootable(
            f"kernel {parts.kernels[0].version} has no initramfs, and the root no modules for it: expected"
            f" /usr/lib/modules/{parts.kernels[0].version}/modules.dep",
            hint="install the kernel's modules in the image and run depmod, or add its initramfs as"
            " /boot/initramfs-VERSION.img, or let an engine make it: --prepare",
            preparable=True,
        )
    return (entry(kernel, make_initramfs(root, kernel, init=init, epoch=epoch)),)


def command_line(root: Node, architecture: str, options: Mapping[str, str]) -> str:
    """What kernels of the root are told besides their root: what the user says, else the files of kernel-install(8) and
    of bootc, else a serial console."""
    if options.get("DIBO_CMDLINE"):
        return options["DIBO_CMDLINE"]
    for path in _COMMAND_LINES:
        part = part_at(root, path)
        if part is not None and part.data and (words := _own(part.data.decode(errors="replace").split())):
            return " ".join(words)
    words = _own(_bootc_arguments(root))
    serial = _CONSOLES.get(architecture, "ttyS0")
    return " ".join(words) if words else f"console=tty0 console={serial},115200"


def _own(words: Iterable[str]) -> list[str]:
    return [word for word in words if not word.startswith(_OF_ANOTHER_MACHINE)]


def _bootc_arguments(root: Node) -> Iterator[str]:
    """bootc: "Kernel arguments", kargs.d: `kargs = ["…"]`, and on which architectures."""
    for directory in _ARGUMENTS:
        for name in names_in(root, directory):
            part = part_at(root, f"{directory}/{name.decode(errors='surrogateescape')}")
            if part is None or not part.data or not name.endswith(b".toml"):
                continue
            try:
                words = tomllib.loads(part.data.decode(errors="replace")).get("kargs", [])
            except (tomllib.TOMLDecodeError, RecursionError):
                continue
            if isinstance(words, list):
                yield from (word for word in words if isinstance(word, str) and not _UNSAFE.search(word))


def token_of(root: Node) -> str:
    """The name that entries of this root begin with, as kernel-install(8) chooses it where there is no machine id."""
    part = part_at(root, "/etc/kernel/entry-token")
    written = part.data.decode(errors="replace").strip() if part is not None and part.data else ""
    release = os_release(root)
    for name in (written, release.get("IMAGE_ID", ""), release.get("ID", "")):
        if _TOKEN.fullmatch(name):
            return name
    return "linux"
