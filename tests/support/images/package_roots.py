"""Roots of packages of Debian, unpacked and not configured: nothing of them runs before the machine does, so they may
be of any architecture.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import user
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.requirements import need

TOOLS = ("mmdebstrap", "newuidmap", "depmod", "zstd")
BUILD_SECONDS = 1200.0
UP = "the machine is up:"
"""What `reporting_init` writes to the console before it says what it sees."""
_MIRROR = "http://deb.debian.org/debian"
_DIRECTORIES = ("dev", "etc", "proc", "root", "run", "sys", "tmp")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64")


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Of the user who makes roots and disks."""
    need(*TOOLS)
    made = user.directory_of(user.need_ordinary_user())
    made.chmod(0o755)
    try:
        yield made
    finally:
        subprocess.run(["rm", "-rf", made], check=True)


def reporting_init(busybox: str = "/bin/busybox") -> str:
    """A script that says what it sees, and powers the machine off."""
    return f"""#!{busybox} sh
busybox mount -t proc proc /proc 2>/dev/null
busybox mount -t sysfs sysfs /sys 2>/dev/null
echo "{UP}"
echo "machine: $(busybox uname -m)"
echo "root: $(busybox awk '$2 == "/" {{ print $1, $3 }}' /proc/mounts)"
echo "size: $(busybox stat -f -c '%b %S' /)"
echo "firmware: $(busybox test -d /sys/firmware/efi && echo uefi)"
echo "command line: $(busybox cat /proc/cmdline)"
busybox sync
busybox poweroff -f
"""


def root_of_packages(
    directory: Path,
    architecture: str,
    suite: str,
    *packages: str,
    programs: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> Path:
    """An OCI layout of an image with the files of `packages` and of all that they depend on, with indexes of the
    kernel's modules, /bin/sh, and what else is named: `programs` by their text, `links` by their targets. Without a
    /sbin/init among them, that is `reporting_init`.
    """
    tar, more = directory / "packages.tar", directory / "more.tar"
    options = ("--quiet", "--mode=unshare", "--variant=extract", f"--architectures={architecture}")
    argv = ["mmdebstrap", *options, f"--include={','.join(packages)}", suite, str(tar)]
    argv.append(f"deb {_MIRROR} {suite} main")  # without updates of the suite, which no test needs
    argv = user.as_user(user.ordinary_user(), argv)
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tar) as file:
        names = {name.removeprefix("./").rstrip("/") for name in file.getnames()}
    merged = {name: f"usr/{name}" for name in _MERGED if f"usr/{name}" in names and name not in names}
    programs, links = dict(programs or {}), dict(links or {})
    if not {"sbin/init"} & {*programs, *links}:
        programs["sbin/init"] = reporting_init()
    with tarfile.open(more, "w") as file:
        for name in (*_DIRECTORIES, *(top for top in ("bin", "sbin") if top not in merged)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            file.addfile(entry)
        for name, target in {**merged, "bin/sh": "busybox", **links}.items():
            entry = tarfile.TarInfo(_real(name, merged))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            file.addfile(entry)
        for name, text in {"etc/os-release": "ID=debian\n", **programs}.items():
            entry = tarfile.TarInfo(_real(name, merged))
            entry.size, entry.mode = len(text.encode()), 0o755
            file.addfile(entry, io.BytesIO(text.encode()))
        _add_indexes_of_modules(file, tar, directory / "modules", merged)
    layout = OciLayout(directory / "image")
    layers = [LayerTar(tar=tar, compression="zstd"), LayerTar(tar=more)]
    layout.write_index({"latest": layout.image(layers, architecture=architecture)})
    tar.unlink()
    return directory / "image"


def _real(name: str, merged: Mapping[str, str]) -> str:
    """Where a path leads in a root whose /bin is a link to /usr/bin."""
    top, slash, rest = name.partition("/")
    return f"{merged[top]}/{rest}" if slash and top in merged else name


def _add_indexes_of_modules(
    file: tarfile.TarFile, packages: Path, scratch: Path, merged: Mapping[str, str]
) -> None:
    """What depmod makes when the kernel's package is configured; it reads modules of any architecture."""
    scratch.mkdir()
    names = ["--wildcards", "*lib/modules/*"]
    subprocess.run(["tar", "-C", scratch, "--no-same-owner", "-xf", packages, *names], check=True)
    if "lib" in merged:
        (scratch / "lib").symlink_to(merged["lib"])
    for modules in (scratch / "lib/modules").iterdir():
        subprocess.run(["depmod", "-b", scratch, modules.name], check=True)
        for index in modules.glob("modules.*"):
            file.add(index, str(index.resolve().relative_to(scratch)))
    shutil.rmtree(scratch)


def convert(image: Path, architecture: str, *options: str, name: str = "disk", by_root: bool = False) -> Path:
    """A qcow2 beside the layout `image`: by dibo with no program on PATH, or as root with those of this machine."""
    disk = image.parent / f"{name}.qcow2"
    argv = [user.program("dibo"), "convert", f"oci:{image}", "-a", architecture, "-o", str(disk), *options]
    if by_root:
        argv += ["--cache-dir", str(image.parent / "cache")]
    environment = None if by_root else {"PATH": "/nonexistent"}
    done = subprocess.run(
        argv, capture_output=True, text=True, cwd="/", timeout=BUILD_SECONDS, env=environment
    )
    assert done.returncode == 0, done.stderr
    return disk
