"""One small root in every form that dibo reads: a tar, a container image, a disk with ext4, an initramfs."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dibo.formats.ext4 import Writer
from dibo.formats.raw import RawFile
from dibo.images.layers.in_memory_files import Keep
from dibo.images.layers.load import LoadOptions, load_tar
from dibo.ramdisk.cpio import archive
from dibo.tree.sinks import Nowhere
from tests.support.disks.ext4_images import parameters
from tests.support.images.oci_layouts import LayerTar, OciLayout

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw+ep, as setcap writes it."""
FORMS = ("tar", "layout", "disk", "ramdisk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of a root: with `data`, or a symlink, a hard link, a device, a directory."""

    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


Root = Mapping[str, Member | bytes | str]
"""By path; bytes are a file, text is the target of a symbolic link."""


def directory(mode: int = 0o755) -> Member:
    return Member(kind=tarfile.DIRTYPE, mode=mode)


def write_tar(path: Path, root: Root) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in root.items():
            member = _member(content)
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = member.kind, member.link, member.mode
            info.uid, info.gid, info.mtime = member.uid, member.gid, 1_700_000_000
            info.devmajor, info.devminor = member.device
            info.size = len(member.data)
            info.pax_headers = {
                f"SCHILY.xattr.{key}": value.decode(errors="surrogateescape")
                for key, value in member.xattrs.items()
            }
            tar.addfile(info, io.BytesIO(member.data))
    return path


def _member(content: Member | bytes | str) -> Member:
    if isinstance(content, bytes):
        return Member(data=content)
    return Member(kind=tarfile.SYMTYPE, link=content, mode=0o777) if isinstance(content, str) else content


def write_layout(path: Path, *roots: Root, run: Mapping[str, object] | None = None) -> str:
    """An OCI layout with a layer for each of the `roots`; its reference."""
    layout = OciLayout(path)
    layers = [
        LayerTar(tar=write_tar(path.with_name(f"{path.name}-{number}.tar"), root))
        for number, root in enumerate(roots)
    ]
    layout.write_index({"1": layout.image(layers, run=run)})
    return f"oci:{path}"


def write_disk(path: Path, root: Root, *, size: int = 16 << 20) -> Path:
    """A file with an ext4 alone."""
    tar = write_tar(path.with_name(f"{path.name}.tar"), root)
    with RawFile(path, size) as target, tar.open("rb") as file:
        writer = Writer(target, parameters(size))
        writer.finish(load_tar(file, writer).root)
    return path


def write_ramdisk(path: Path, root: Root) -> Path:
    """Two archives, as with microcode in front: the first as it is, the second compressed."""
    tar = write_tar(path.with_name(f"{path.name}.tar"), root)
    keep: Keep = (b"",)
    with tar.open("rb") as file:
        tree = load_tar(file, Nowhere(), LoadOptions(keep=keep)).root
    early: Root = {"kernel": directory(), "kernel/early": b"first"}
    with write_tar(path.with_name("early.tar"), early).open("rb") as file:
        first = load_tar(file, Nowhere(), LoadOptions(keep=keep)).root
    with path.open("wb") as out:
        out.writelines(archive(first, lambda node: iter([node.data or b""]), clamp=1 << 31))
        out.write(
            gzip.compress(b"".join(archive(tree, lambda node: iter([node.data or b""]), clamp=1 << 31)))
        )
    return path


def write_form(form: str, directory: Path, root: Root, *, name: str = "image") -> str:
    """The root in one of FORMS; how it is named to dibo."""
    match form:
        case "tar":
            return str(write_tar(directory / f"{name}.tar", root))
        case "layout":
            return write_layout(directory / name, root)
        case "disk":
            return str(write_disk(directory / f"{name}.raw", root))
    return str(write_ramdisk(directory / f"{name}.ramdisk", root))


STATUS = """\
Package: bash
Status: install ok installed
Installed-Size: 7000
Architecture: amd64
Version: 5.2-1
Description: the shell
 of many

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: dpkg
Status: install ok installed
Architecture: amd64
Source: dpkg-source (1.21)
Version: 1.22
"""
PASSWD = "root:x:0:0:root:/root:/bin/bash\nweb:x:1000:1000:Web,,,:/home/web:/bin/sh\nbad line\n"


def debian_root() -> dict[str, Member | bytes | str]:
    """As small as shows everything that an inventory has."""
    unit = (
        b"[Unit]\nDescription=%s\n[Service]\nExecStart=/usr/bin/%s\n[Install]\nWantedBy=multi-user.target\n"
    )
    system = "usr/lib/systemd/system"
    return {
        "etc": directory(),
        "etc/os-release": "../usr/lib/os-release",
        "usr/lib/os-release": b'ID=debian\nPRETTY_NAME="Debian 12"\n',
        "etc/passwd": PASSWD.encode(),
        "etc/shadow": Member(data=b"root:*:1::::::\nweb:$y$x:1::::::\n", mode=0o640, gid=42),
        "etc/group": b"root:x:0:\nshadow:x:42:web,root\n",
        "usr/bin/bash": Member(data=b"#!shell" * 1000, mode=0o755),
        "usr/bin/rbash": Member(kind=tarfile.LNKTYPE, link="usr/bin/bash"),
        "usr/bin/ping": Member(data=b"ping", mode=0o755, xattrs={"security.capability": CAPABILITY}),
        "usr/bin/su": Member(data=b"su", mode=0o4755),
        "dev/null": Member(kind=tarfile.CHRTYPE, mode=0o666, device=(1, 3)),
        "dev/large": Member(kind=tarfile.BLKTYPE, mode=0o660, device=(300, 70_000)),
        "var/lib/dpkg/status": STATUS.encode(),
        "var/lib/dpkg/info/bash.list": b"/.\n/bin\n/bin/bash\n/usr/bin/rbash\n",
        "var/lib/dpkg/info/dpkg:amd64.list": b"/.\n/usr/bin/ping\n/usr\n",
        f"{system}/web.service": unit % (b"web", b"web"),
        f"{system}/off.service": unit % (b"off", b"off"),
        f"{system}/plain.service": b"[Service]\nExecStart=/bin/true\n",
        f"{system}/web.socket": b"[Socket]\nListenStream=80\nListenStream=[::]:443\n"
        b"[Install]\nWantedBy=sockets.target\n",
        f"{system}/getty@.service": unit % (b"getty", b"getty"),
        f"{system}-preset/90-x.preset": b"enable web.*\ndisable *\n",
        "etc/systemd/system/masked.service": "/dev/null",
        "etc/systemd/system/multi-user.target.wants/web.service": f"/{system}/web.service",
        "etc/systemd/system/getty.target.wants/getty@tty1.service": f"/{system}/getty@.service",
        "boot/vmlinuz-6.1.0-9-amd64": b"kernel" * 200,
        "boot/initrd.img-6.1.0-9-amd64": b"initrd",
        "boot/grub/grub.cfg": b"menuentry x {\n linux /boot/vmlinuz-6.1.0-9-amd64 root=LABEL=x ro quiet\n"
        b" initrd /boot/initrd.img-6.1.0-9-amd64\n}\n",
        "fifo": Member(kind=tarfile.FIFOTYPE),
    }


def layers_of(root: Root, *names: str) -> Sequence[dict[str, Member | bytes | str]]:
    """The root in two layers, those with `names` in the second."""
    second = {name: content for name, content in root.items() if name.startswith(names)}
    return [{name: content for name, content in root.items() if name not in second}, second]
