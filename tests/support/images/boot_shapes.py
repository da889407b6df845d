"""Small roots of many distributions' shapes, that boot: made of Debian's packages, since no archive of other
distributions can be reached from everywhere. Names, places and index files are the other's; programs are Debian's.

Each root has a kernel, its modules, busybox as its init, and a boot loader, and no initramfs. Its init writes what it
finds to the console.
"""

from __future__ import annotations

import io
import stat
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

PACKAGES: Final = (
    "busybox-static",
    "linux-image-cloud-amd64",
    "grub-pc-bin",
    "grub-efi-amd64-signed",
    "shim-signed",
    "systemd-boot-efi",
)
UP: Final = "the root is up:"
"""What the init of each root writes to the console, with the file system of / behind it."""
WRITTEN: Final = "the root is written to"
"""What it writes when it has written a file to the root."""
_INIT: Final = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc 2>/dev/null
while read -r device place kind rest; do
\tif [ "$place" = / ]; then echo "{UP} $device $kind"; fi
done </proc/mounts
echo written >/tmp/written && /bin/busybox cat /tmp/written && echo "{WRITTEN}"
exec /bin/busybox sleep 100000
""".encode()
_LOADERS: Final = ("usr/lib/grub/i386-pc/", "usr/lib/systemd/boot/efi/")
_SIGNED: Final = {
    "grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    "shimx64.efi": "usr/lib/shim/shimx64.efi.signed",
}


class DebianParts:
    """The packages, unpacked into a tar by mmdebstrap, and their modules indexed by depmod."""

    def __init__(self, archive: Path, scratch: Path) -> None:
        """`archive` is what `mmdebstrap --variant=extract` wrote."""
        modules = scratch / "modules"
        self._files: dict[str, bytes] = {}
        with tarfile.open(archive) as tar:
            members = {member.name.removeprefix("./"): member for member in tar}
            for name, member in members.items():
                module = name.startswith("lib/modules/") and member.isfile()
                if not (module or self._wants(name)) or (file := tar.extractfile(member)) is None:
                    continue
                if module:
                    (modules / name).parent.mkdir(parents=True, exist_ok=True)
                    (modules / name).write_bytes(file.read())
                else:
                    self._files[name] = file.read()
        (directory,) = (modules / "lib/modules").iterdir()
        self.version = directory.name
        subprocess.run(["depmod", "-b", str(modules), self.version], check=True)
        self.modules = {
            str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file()
        }

    @staticmethod
    def _wants(name: str) -> bool:
        exact = ("bin/busybox", *_SIGNED.values())
        return name in exact or name.startswith(("boot/vmlinuz-", *_LOADERS))

    @property
    def kernel(self) -> bytes:
        return self._files[f"boot/vmlinuz-{self.version}"]

    def root(self, shape: str) -> dict[str, bytes]:
        """Paths and contents of a root of that shape: debian, fedora or alpine."""
        files = {
            "bin/busybox": self._files["bin/busybox"],
            "sbin/init": _INIT,
            "etc/os-release": f'ID={shape}\nPRETTY_NAME="Shape of {shape}"\n'.encode(),
            **{name: data for name, data in self._files.items() if name.startswith(_LOADERS)},
        }
        match shape:
            case "fedora":
                files |= {
                    f"usr/lib/modules/{self.version}/{name}": data for name, data in self.modules.items()
                }
                files[f"usr/lib/modules/{self.version}/vmlinuz"] = self.kernel
                vendor = "usr/lib/bootupd/updates/EFI/fedora"
                files |= {f"{vendor}/{name}": self._files[path] for name, path in _SIGNED.items()}
            case "alpine":
                files |= {f"lib/modules/{self.version}/{name}": data for name, data in self.modules.items()}
                files["boot/vmlinuz-virt"] = self.kernel
                files["usr/share/kernel/virt/kernel.release"] = f"{self.version}\n".encode()
            case _:
                files |= {f"lib/modules/{self.version}/{name}": data for name, data in self.modules.items()}
                files[f"boot/vmlinuz-{self.version}"] = self.kernel
                files |= {path: self._files[path] for path in _SIGNED.values()}
        return files


def write_tar(path: Path, files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> Path:
    """A layer with these files, all of which may be executed, and the directories that every root has."""
    directories = {"dev", "proc", "run", "sys", "tmp", "boot", "etc"}
    for name in (*files, *(links or {})):
        directories |= {str(parent) for parent in PurePosixPath(name).parents if str(parent) != "."}
    with tarfile.open(path, "w") as tar:
        for name in sorted(directories - set(links or {})):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), stat.S_IMODE(0o755)
            tar.addfile(entry, io.BytesIO(data))
    return path
