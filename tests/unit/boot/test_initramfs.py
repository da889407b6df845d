"""The initramfs that dibo makes for a root without one."""

from __future__ import annotations

import lzma
import stat
from collections.abc import Mapping

import pytest
import zstandard

from dibo.boot.find import find_boot_parts
from dibo.boot.initramfs import BytesMissing, is_program, make_initramfs
from dibo.boot.keep import is_text
from dibo.errors import RootNotBootable
from dibo.tree.node import Node
from dibo.tree.query import find, walk
from tests.support.elf_files import elf, module
from tests.support.markdown import PROJECT
from tests.support.node_trees import Content, Program, tree
from tests.support.readers.cpio_reader import read_newc

INIT = PROJECT / "converters/initramfs/find-root/init"
APPLETS = ("[", "[[", "ash", "blkid", "busybox", "mkdir", "modprobe", "mount", "od", "sh", "sleep")
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
LOADER = "/usr/lib64/ld-linux-x86-64.so.2"
VERSION = "6.1.0-13-amd64"
MODULES = f"/usr/lib/modules/{VERSION}"
DEP = (
    "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko\n"
    "kernel/drivers/virtio/virtio.ko:\n"
    "kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n"
    "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.zst\n"
    "kernel/fs/jbd2/jbd2.ko.zst:\n"
    "kernel/net/unrelated.ko:\n"
)


def program(*needed: str) -> Program:
    return Program(elf(needed=["libc.so.6", *needed], interpreter="/lib64/ld-linux-x86-64.so.2"))


def root_with(programs: Mapping[str, Content]) -> Node:
    ext4 = lzma.compress(module(name=["ext4"]))
    files: dict[str, Content] = {
        "/bin": "usr/bin",
        "/sbin": "usr/sbin",
        "/lib": "usr/lib",
        "/lib64": "usr/lib64",
        LIBC: elf(),
        LOADER: elf(),
        f"/boot/vmlinuz-{VERSION}": b"kernel",
        f"{MODULES}/modules.dep": DEP.encode(),
        f"{MODULES}/modules.alias": b"alias virtio:d00000002v* virtio_blk\n",
        f"{MODULES}/kernel/drivers/block/virtio_blk.ko": module(),
        f"{MODULES}/kernel/drivers/virtio/virtio.ko": module(),
        f"{MODULES}/kernel/drivers/virtio/virtio_ring.ko": module(),
        f"{MODULES}/kernel/fs/ext4/ext4.ko.xz": ext4,
        f"{MODULES}/kernel/fs/jbd2/jbd2.ko.zst": zstandard.ZstdCompressor().compress(module()),
        f"{MODULES}/kernel/net/unrelated.ko": module(),
        **programs,
    }
    return tree(files)


def busybox(*applets: str) -> Program:
    names = b"".join(name.encode() + b"\0" for name in sorted(applets))
    return Program(elf() + names)


BUSYBOX: dict[str, Content] = {"/usr/bin/busybox": busybox(*APPLETS, "switch_root")}
UTIL_LINUX: dict[str, Content] = {
    "/usr/bin/dash": program(),
    "/usr/bin/sh": "dash",
    "/usr/bin/mkdir": program(),
    "/usr/bin/mount": program("libmount.so.1"),
    "/usr/lib/x86_64-linux-gnu/libmount.so.1": elf(needed=["libc.so.6"]),
    "/usr/bin/sleep": program(),
    "/usr/sbin/switch_root": program(),
    "/usr/sbin/blkid": program(),
    "/usr/bin/kmod": program(),
    "/usr/sbin/modprobe": "../bin/kmod",
}


def made(root: Node) -> dict[str, tuple[int, bytes]]:
    """Names, and the mode and the bytes of each."""
    (kernel,) = find_boot_parts(root, architecture="amd64").kernels
    archive = make_initramfs(root, kernel, init=INIT.read_bytes(), epoch=0)
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(archive)
    return {member.name: (member.mode, member.data) for member in read_newc(plain)}


def test_busybox_does_it_all() -> None:
    files = made(root_with(BUSYBOX))
    assert files["init"] == (stat.S_IFREG | 0o755, INIT.read_bytes())
    for name in ("sh", "mount", "switch_root", "mkdir", "sleep", "modprobe", "blkid", "od"):
        mode, target = files[f"usr/bin/{name}"]
        assert stat.S_ISLNK(mode)
        assert target.endswith(b"/busybox")
    assert files["sbin"][1] == b"usr/sbin"
    assert "usr/sbin/modprobe" in files  # where the kernel looks for it


def test_the_kernel_finds_busyboxs_modprobe_beside_one_of_kmod() -> None:
    """ext4 asks the kernel for crc32c, and the kernel asks /sbin/modprobe."""
    kmod = {name: UTIL_LINUX[name] for name in ("/usr/bin/kmod", "/usr/sbin/modprobe")}
    files = made(root_with({**BUSYBOX, **kmod}))
    assert files["usr/sbin/modprobe"][1] == b"/bin/modprobe"
    assert files["usr/bin/modprobe"][1].endswith(b"/busybox")


def test_programs_come_with_their_libraries() -> None:
    files = made(root_with(UTIL_LINUX))
    for path in ("/usr/bin/dash", "/usr/bin/mount", "/usr/sbin/switch_root", "/usr/bin/kmod", LIBC, LOADER):
        assert path.lstrip("/") in files
    assert "usr/lib/x86_64-linux-gnu/libmount.so.1" in files
    assert files["usr/bin/sh"][1] == b"dash"


def test_blkid_of_util_linux_comes_before_busyboxs() -> None:
    files = made(root_with({**BUSYBOX, "/usr/sbin/blkid": program()}))
    assert stat.S_ISREG(files["usr/sbin/blkid"][0])
    assert "usr/bin/blkid" not in files


def test_a_busybox_without_what_is_needed_does_not_count() -> None:
    files = made(root_with({**UTIL_LINUX, "/usr/bin/busybox": busybox("[", "[[", "sh")}))
    assert stat.S_ISREG(files["usr/bin/mount"][0])


def test_modules_come_with_what_they_need_and_uncompressed() -> None:
    files = made(root_with(BUSYBOX))
    modules = sorted(path.rpartition("/")[2] for path in files if path.endswith((".ko", ".xz", ".zst")))
    assert modules == ["ext4.ko", "jbd2.ko", "virtio.ko", "virtio_blk.ko", "virtio_ring.ko"]
    assert files[f"{MODULES.lstrip('/')}/kernel/fs/ext4/ext4.ko"][1].startswith(b"\x7fELF")
    dep = files[f"{MODULES.lstrip('/')}/modules.dep"][1].decode()
    assert "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\n" in dep
    assert "unrelated" not in dep


def test_the_same_root_gives_the_same_bytes() -> None:
    root = root_with(UTIL_LINUX)
    (kernel,) = find_boot_parts(root, architecture="amd64").kernels
    first, second = (make_initramfs(root, kernel, init=b"x", epoch=0) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("missing", ["mount", "switch_root", "modprobe"])
def test_a_program_that_is_missing_is_named(missing: str) -> None:
    programs = {path: data for path, data in UTIL_LINUX.items() if not path.endswith(f"/{missing}")}
    with pytest.raises(
        RootNotBootable, match=f"no initramfs, and none can be made: the root has no {missing}$"
    ) as error:
        made(root_with(programs))
    assert error.value.preparable
    assert "busybox" in error.value.hint


def test_a_library_that_is_missing_is_named() -> None:
    root = root_with({**UTIL_LINUX, "/usr/bin/mount": program("libgone.so.1")})
    with pytest.raises(RootNotBootable, match=r"the initramfs names mount; .* needs libgone\.so\.1"):
        made(root)


def test_bytes_that_were_not_read_are_asked_for_modules_all_at_once() -> None:
    root = root_with(BUSYBOX)
    for node in walk(root):
        if node.data is not None and node.data.startswith(b"\x7fELF") and node.size < 2000:
            node.data = None
    box = find(root, "/usr/bin/busybox")
    assert box is not None
    box.data = bytes(BUSYBOX["/usr/bin/busybox"] or b"")  # type: ignore[arg-type]
    with pytest.raises(BytesMissing) as error:
        made(root)
    assert len(error.value.nodes) == 3  # those that are not compressed


def test_what_is_mostly_needed_is_read_the_first_time() -> None:
    for path in [*BUSYBOX, *UTIL_LINUX, LIBC, LOADER, "/lib/ld-musl-x86_64.so.1", "/lib64/libc.so.6"]:
        assert is_program(path.lstrip("/").encode()), path
    assert not is_program(b"usr/lib/x86_64-linux-gnu/libLLVM-14.so.1")
    assert is_text(f"{MODULES}/modules.dep".lstrip("/").encode())
