"""Ramdisks beside the programs that others read and write them with, and the command as an ordinary user has it.

The kernel of these tests is a few bytes with an index beside it; real ones are booted in tests/boot.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import errors
from dibo.flavours.ramdisk_requests import RequestedName
from dibo.ramdisk.compress import compress, parse_compression
from dibo.ramdisk.cpio import archive
from dibo.ramdisk.depmod import depmod, module_name
from dibo.ramdisk.elf import read_elf
from dibo.ramdisk.programs import ProgramSelector, applets_of
from dibo.ramdisk.selection import Selection
from dibo.ramdisk.source import ContentReader, host_tree
from dibo.tree.node import Node
from tests.support import user
from tests.support.elf_files import module
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.node_trees import listing, node, read, tree
from tests.support.readers.cpio_reader import Member, read_newc
from tests.support.requirements import need
from tests.support.servers.registry import registry

pytestmark = pytest.mark.integration

VERSION = "6.1-test"


def archived(root: Node) -> bytes:
    return b"".join(map(bytes, archive(root, lambda file: iter([read(file)]), clamp=10**9)))


def test_cpio_unpacks_what_was_written(tmp_path: Path) -> None:
    need("cpio")
    shared = node(b"shared")
    root = tree({"a/one": shared, "b": None, "b/two": shared, "c": "a/one", "dd": b"x" * 5001, "e": b""})
    done = subprocess.run(
        ["cpio", "--extract", "--quiet", "--make-directories"],
        input=archived(root),
        capture_output=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "a/one").read_bytes() == b"shared"
    assert (tmp_path / "a/one").stat().st_ino == (tmp_path / "b/two").stat().st_ino
    assert os.readlink(tmp_path / "c") == "a/one"  # noqa: PTH115
    assert (tmp_path / "dd").read_bytes() == b"x" * 5001
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=archived(root), capture_output=True, text=False)
    assert listed.stdout.split() == [b".", b"a", b"a/one", b"b", b"b/two", b"c", b"dd", b"e"]


@pytest.mark.parametrize("method", ["zstd", "gzip", "xz:1"])
def test_other_programs_unpack_it(method: str) -> None:
    program = method.partition(":")[0]
    need(program)
    data = Path("/bin/sh").read_bytes() * 30
    packed = b"".join(map(bytes, compress([data[:5], data[5:]], parse_compression(method), threads=3)))
    assert subprocess.run([program, "-dc"], input=packed, capture_output=True, check=True).stdout == data


def test_indexes_are_those_of_depmod(tmp_path: Path) -> None:
    need("depmod")
    place = tmp_path / "lib/modules" / VERSION / "kernel"
    place.mkdir(parents=True)
    for name, aliases in {
        "one-a": ["pci:v00008086d0000100E*", "of:N*T*Ca,b-c"],
        "two": ["pci:v00008086d*", "usb:v05[a-c]-x*"],
        "three": [],
    }.items():
        (place / f"{name}.ko").write_bytes(module(alias=aliases, name=[name]))
    done = subprocess.run(["depmod", "-b", str(tmp_path), VERSION], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    texts = {path.name: path.read_text() for path in place.parent.glob("modules.*") if path.suffix != ".bin"}
    names = [module_name(line.partition(":")[0]) for line in texts["modules.dep"].splitlines()]
    assert sorted(names) == ["one_a", "three", "two"]
    made = depmod(texts, names, paths={})
    for name in ("modules.dep", "modules.dep.bin", "modules.alias.bin", "modules.symbols.bin"):
        assert made[name] == (place.parent / name).read_bytes(), name


def test_libraries_are_those_that_the_loader_takes() -> None:
    """Of a program of this machine, beside ldd, which asks the loader itself."""
    need("ldd", "ssh")
    program = shutil.which("ssh")
    assert program is not None
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    wanted = {os.path.realpath(word) for word in said.split() if word.startswith("/")}
    root = host_tree(
        Path("/"), ("usr/lib", "lib", "lib64", "bin", "usr/bin", "etc/ld.so.conf", "etc/ld.so.conf.d")
    )
    contents = ContentReader(None)  # type: ignore[arg-type]
    harvest = Selection(root, contents.read)
    ProgramSelector(harvest).take(RequestedName(text="ssh", flavour="web", file="binary-deps", line=1))
    found = {f"/{path}" for path, target in listing(harvest.tree) if not isinstance(target, str)}
    assert wanted <= found
    more = {os.path.basename(path) for path in found - wanted - {os.path.realpath(program)}}  # noqa: PTH119
    assert all(name.startswith(("libnss_", "libresolv", "libgcc_s")) for name in more), more


def test_applets_are_those_that_busybox_lists() -> None:
    need("busybox")
    path = Path(shutil.which("busybox") or "")
    said = subprocess.run([path, "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert list(applets_of(path.read_bytes())) == sorted(said)


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv", "shellcheck")
    who = user.need_ordinary_user()
    with build_env(who) as made:
        kernels = made.directory / "kernels"
        modules = kernels / "lib/modules" / VERSION
        (modules / "kernel").mkdir(parents=True)
        (kernels / "boot").mkdir()
        (kernels / "boot" / f"vmlinuz-{VERSION}").write_bytes(b"a kernel")
        (modules / "kernel/card.ko").write_bytes(module(name=["card"]))
        (modules / "modules.dep").write_text("kernel/card.ko:\n")
        (modules / "modules.alias").write_text("alias pci:v1* card\n")
        made.environment["MODULE_ROOT"] = str(kernels)
        yield made


@pytest.fixture
def out(place: BuildEnv) -> Iterator[Path]:
    directory = place.directory / "out"
    directory.mkdir()
    shutil.chown(directory, place.user.pw_uid, place.user.pw_gid)
    yield directory
    shutil.rmtree(directory)


def unpacked(path: Path) -> dict[str, Member]:
    return {member.name: member for member in read_newc(gzip.decompress(path.read_bytes()))}


def test_the_command(place: BuildEnv, out: Path) -> None:
    write_flavour(
        place.flavours,
        "tool",
        {
            "install.d/10-tool": "#!/bin/sh\nprintf '#!/bin/sh\\necho tool\\n' >/bin/tool\nchmod 755 /bin/tool\n"
            "[ ! -e /tmp/in_target.d/init ]\n",
            "binary-deps": "tool cat # an applet\n",
            "modules": "pci:v1d5\n",
            "init": "tool\n",
            "udev/60-tool.rules": "# nothing\n",
        },
    )
    target = out / "tool.ramdisk"
    options: list[str | Path] = ["-o", target, "--no-base", "--compress", "gzip"]
    said = place.run("ramdisk-image-create", *options, "tool")
    assert said.code == 0, said.err
    assert re.search(r"tool\.ramdisk +\(", said.out) and re.search(r"tool\.kernel +\(", said.out)
    assert (out / "tool.kernel").read_bytes() == b"a kernel"
    found = unpacked(target)
    assert found["bin/tool"].data == b"#!/bin/sh\necho tool\n"
    assert stat.S_ISLNK(found["bin/cat"].mode)
    assert found[f"lib/modules/{VERSION}/kernel/card.ko"].data.startswith(b"\x7fELF")
    assert b"# init fragment from flavour tool\n" in found["init"].data
    assert "usr/lib/udev/rules.d/60-tool.rules" in found or "lib/udev/rules.d/60-tool.rules" in found
    assert "etc/os-release" in found and not any("shadow" in name for name in found)
    assert read_elf(found["bin/busybox"].data).needed == ()

    # Another fragment: no layer is built, and the ramdisk is another. The same again: the same bytes.
    (place.flavours / "tool/init").write_text("tool again\n")
    said = place.run("ramdisk-image-create", *options, "tool")
    assert said.code == 0 and not said.hooks_run, said.err
    assert b"tool again\n" in unpacked(target)["init"].data
    first = target.read_bytes()
    assert place.run("ramdisk-image-create", *options, "tool").code == 0
    assert target.read_bytes() == first
    assert place.left() == []


def test_from_a_cache_alone(place: BuildEnv, out: Path, tmp_path: Path) -> None:
    """What a registry holds becomes the same ramdisk where no layer is, and none is brought or built."""
    need("docker-registry")
    write_flavour(
        place.flavours,
        "kept",
        {"install.d/10-kept": "#!/bin/sh\necho kept >/kept\n", "binary-deps": "/kept\n"},
    )
    with registry(tmp_path) as server:
        options: list[str | Path] = [
            "--no-base",
            "--compress",
            "gzip",
            "--cache",
            f"{server.host}/cache",
            "kept",
        ]
        said = place.run("ramdisk-image-create", "-o", out / "a.ramdisk", *options)
        assert said.code == 0 and said.hooks_run, said.err
        assert place.run("buildah", "rmi", "--all", "--force").code == 0
        said = place.run("ramdisk-image-create", "-o", out / "b.ramdisk", *options)
        assert said.code == 0 and not said.hooks_run, said.err
    assert place.run("buildah", "images", "--quiet").out == ""
    assert unpacked(out / "b.ramdisk")["kept"].data == b"kept\n"
    assert (out / "a.ramdisk").read_bytes() == (out / "b.ramdisk").read_bytes()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"binary-deps": "cat\nlshw\n"},
            "binary-deps:2 of the flavour 'broken' names lshw, which is not in the root",
        ),
        ({"modules": "crad\n"}, "modules:1 of the flavour 'broken' names the kernel module 'crad'"),
        ({"init": "true\nif true\n"}, "/broken/init:3, of the flavour 'broken': Syntax error"),
        ({"init": "x=(1)\n"}, "/broken/init:1, of the flavour 'broken': "),
    ],
)
def test_what_a_flavour_got_wrong(place: BuildEnv, out: Path, files: dict[str, str], message: str) -> None:
    shutil.rmtree(place.flavours / "broken", ignore_errors=True)
    write_flavour(place.flavours, "broken", files)
    said = place.run("ramdisk-image-create", "-o", out / "x.ramdisk", "--no-base", "broken")
    assert said.code == errors.RamdiskError.exit_code, said.err
    assert message in said.error
    assert list(out.iterdir()) == [] and place.left() == []


def test_no_kernel(place: BuildEnv, out: Path) -> None:
    write_flavour(place.flavours, "plain")
    said = place.run(
        "ramdisk-image-create", "-o", out / "x", "--no-base", "plain", environment={"MODULE_ROOT": ""}
    )
    assert said.code == errors.RamdiskError.exit_code
    assert "no kernel in the root" in said.error
    said = place.run("ramdisk-image-create", "-o", out / "x", "--no-base", "-k", "7.0", "plain")
    assert "no kernel 7.0 with modules in" in said.error


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-o", "/nowhere/x"], errors.OutputError.exit_code, "the directory /nowhere does not exist"),
        (["-o", "/tmp/x.kernel"], errors.UsageError.exit_code, "is not a valid name for an initramfs"),
        (
            ["-o", "/tmp/x", "--compress", "lz4"],
            errors.UsageError.exit_code,
            "'lz4' is not a known compression",
        ),
    ],
)
def test_what_is_refused_at_once(place: BuildEnv, options: list[str], code: int, message: str) -> None:
    said = place.run("ramdisk-image-create", *options, "--no-base", "plain")
    assert (said.code, message in said.error) == (code, True), said.err
