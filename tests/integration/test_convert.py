"""`dibo convert` as a user types it: sizes, layouts, limits, refusals. What the disks hold is test_convert_corpus's."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dibo import errors
from dibo.formats.partitions import gpt
from dibo.system import process
from tests.support import user
from tests.support.host.build_env import BuildEnv, CommandResult, build_env, busybox_root
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.readers.ext4_reader import Reader
from tests.support.requirements import need

pytestmark = pytest.mark.integration

GIB = 1 << 30
MUCH = ("--max-ratio", "9999999")  # for a layer of one byte again and again
KERNEL = {"boot/vmlinuz-6.1": b"kernel"}
GRUB = {"usr/lib/grub/i386-pc/boot.img": b"", "usr/lib/grub/x86_64-efi/x.mod": b""}


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("busybox", "setpriv", "e2fsck", "qemu-img")
    someone = user.need_ordinary_user()
    with build_env(someone) as made:
        yield made


@pytest.fixture
def out(place: BuildEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = place.directory / tmp_path_factory.mktemp("out").name
    directory.mkdir()
    directory.chmod(0o777)
    yield directory
    assert place.left() == []


def image(place: BuildEnv, name: str, files: Mapping[str, bytes], *, large: int = 0) -> str:
    """An image of busybox and `files` in two layers; the reference of it."""
    layout = place.directory / name
    if not layout.exists():
        base, top = place.directory / f"{name}-base.tar", place.directory / f"{name}-top.tar"
        busybox_root(base)
        with tarfile.open(top, "w") as tar:
            for path, data in {**files, **({"big": b""} if large else {})}.items():
                member = tarfile.TarInfo(path)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            if large:
                member = tarfile.TarInfo("large")
                member.size = large
                tar.addfile(member, _Ones())
        made = OciLayout(layout)
        made.write_index({"1": made.image([LayerTar(tar=base), LayerTar(tar=top, compression="zstd")])})
        base.unlink()
        top.unlink()
    return f"oci:{layout}:1"


class _Ones(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return b"\1" * size


def programs(directory: Path) -> Path:
    """A PATH that holds nothing."""
    directory.mkdir(exist_ok=True)
    return directory


def convert(
    place: BuildEnv, reference: str, out: Path, *arguments: str | Path, **environment: str
) -> CommandResult:
    return place.run("dibo", "convert", reference, "-o", out / "disk", *arguments, environment=environment)


def refused(said: CommandResult, kind: type[errors.DiboError], *words: str) -> None:
    assert "Traceback" not in said.err, said.err
    for word in words:
        assert word in said.err, said.err
    assert said.code == kind.exit_code, said.err
    assert said.out == ""


def sound(disk: Path, offset: int = 0) -> None:
    target = f"{disk}?offset={offset}" if offset else str(disk)
    done = process.run(["e2fsck", "-fn", target], capture=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_bare_file_system_with_no_program_at_all(place: BuildEnv, out: Path) -> None:
    empty = programs(place.directory / "none")
    said = convert(place, image(place, "tiny", {}), out, "--bare", "-t", "raw", PATH=str(empty))
    assert said.code == 0, said.err
    disk = out / "disk.raw"
    assert disk.stat().st_size == 2 * GIB
    sound(disk)
    with disk.open("rb") as file:

        def read(at: int, size: int) -> bytes:
            file.seek(at)
            return file.read(size)

        assert Reader(read).content is not None


def test_the_same_image_gives_the_same_bytes_and_a_checksum_where_asked(place: BuildEnv, out: Path) -> None:
    reference = image(place, "tiny", {})
    for name in ("one", "other"):
        said = place.run(
            *("dibo", "convert", reference, "--bare", "--checksum", "-t", "raw,qcow2", "-o", out / name)
        )
        assert said.code == 0, said.err
    for kind in ("raw", "qcow2"):
        assert process.run(["cmp", str(out / f"one.{kind}"), str(out / f"other.{kind}")]).returncode == 0
        process.run(["sha256sum", "--check", f"one.{kind}.sha256"], options=process.ProcessOptions(cwd=out))
    process.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(out / "one.raw"), str(out / "one.qcow2")]
    )


def test_a_disk_that_nobody_sized_becomes_as_large_as_it_must(place: BuildEnv, out: Path) -> None:
    reference = image(place, "large", {}, large=5 * GIB // 2)
    said = convert(place, reference, out, "--bare", "-t", "raw", "--max-size", "4", *MUCH)
    assert said.code == 0, said.err
    assert "2 GiB are not enough; again with 3 GiB" in said.err
    assert (out / "disk.raw").stat().st_size == 3 * GIB
    sound(out / "disk.raw")
    for name in ("disk.raw", "disk.manifest.json"):
        (out / name).unlink()
    said = convert(place, reference, out, "--bare", "-t", "raw", "--image-size", "2", *MUCH)
    refused(said, errors.ImageTooSmall, "are missing", "--image-size 2.")
    assert list(out.iterdir()) == []


def test_limits_are_options(place: BuildEnv, out: Path) -> None:
    refused(convert(place, image(place, "tiny", {}), out, "--max-entries", "9"), errors.LayerError, "9")
    reference = image(place, "large", {}, large=5 * GIB // 2)
    refused(convert(place, reference, out, "--bare", "--max-size", "1"), errors.LayerError, "--max-size")
    assert list(out.iterdir()) == []


def test_a_layout_of_ones_own(place: BuildEnv, out: Path) -> None:
    layout = place.directory / "layout.yaml"
    layout.write_text(
        "table: gpt\npartitions:\n"
        "  - {name: data, type: linux, size: 8MiB}\n"
        "  - {name: root, type: linux-root, size: rest, filesystem: ext4, label: mine, mount: /}\n"
    )
    said = convert(
        place, image(place, "tiny", {}), out, "-t", "raw", "--layout", layout, "--image-size", "0.1"
    )
    assert said.code == 0, said.err
    with (out / "disk.raw").open("rb") as file:
        table = gpt.decode(file)
    names = [entry.name for entry in table.entries]
    assert names == ["data", "root"]
    sound(out / "disk.raw", offset=table.entries[1].first_lba * 512)


def test_a_root_without_a_kernel_names_packages_if_it_has_any(place: BuildEnv, out: Path) -> None:
    said = convert(place, image(place, "tiny", {}), out)
    refused(said, errors.RootNotBootable, "no kernel", "dibo build --kit", "--bare")
    assert "linux-image-amd64" not in said.err
    said = convert(place, image(place, "packages", {"usr/bin/apt-get": b""}), out)
    refused(said, errors.RootNotBootable, "no kernel", "linux-image-amd64", "grub-pc-bin", "--bare")


def test_a_root_without_grub_names_packages(place: BuildEnv, out: Path) -> None:
    said = convert(place, image(place, "kernel", KERNEL), out)
    refused(
        said,
        errors.RootNotBootable,
        "no boot loader for amd64",
        "install in the image: grub2-common grub-pc-bin",
    )


def test_a_kernel_without_an_initramfs_names_the_option(place: BuildEnv, out: Path) -> None:
    said = convert(place, image(place, "grub", {**KERNEL, **GRUB}), out)
    refused(said, errors.RootNotBootable, "kernel 6.1 has no initramfs", "--prepare")


def test_an_engine_runs_programs_of_the_image_only_when_asked_to(place: BuildEnv, out: Path) -> None:
    need("buildah", "newuidmap")
    said = convert(place, image(place, "grub", {**KERNEL, **GRUB}), out, "--prepare")
    refused(said, errors.HookFailed, "80-grub", "of flavour 'boot-files'")


def test_without_an_engine_prepare_says_so(place: BuildEnv, out: Path) -> None:
    empty = programs(place.directory / "no-engine")
    said = convert(place, image(place, "grub", {**KERNEL, **GRUB}), out, "--prepare", PATH=str(empty))
    refused(said, errors.RootNotBootable, "kernel 6.1 has no initramfs", "no engine can prepare")


def test_times_that_ext4_cannot_say_are_told(place: BuildEnv, out: Path) -> None:
    """1800, 1901, 2400 and 2500: the first and the last become the nearest time that there is."""
    layout = place.directory / "times"
    layer = place.directory / "times.tar"
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, time in (
            ("a", -5_364_662_400),
            ("b", -2_145_916_800),
            ("c", 13_569_465_600),
            ("d", 16_725_225_600),
        ):
            member = tarfile.TarInfo(name)
            member.pax_headers = {"mtime": str(time)}
            tar.addfile(member)
    made = OciLayout(layout)
    made.write_index({"1": made.image([LayerTar(tar=layer)])})
    said = convert(place, f"oci:{layout}:1", out, "--bare")
    assert said.code == 0, said.err
    assert "2 files are from before 1901 or after 2446, which ext4 cannot say" in said.err


def test_what_ext4_cannot_hold_is_told(place: BuildEnv, out: Path) -> None:
    layout = place.directory / "attributes"
    tar = place.directory / "attributes.tar"
    member = tarfile.TarInfo("etc/file")
    member.pax_headers = {"SCHILY.xattr.user.large": "x" * 9000}
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(member)
    made = OciLayout(layout)
    made.write_index({"1": made.image([LayerTar(tar=tar)])})
    said = convert(place, f"oci:{layout}:1", out, "--bare")
    refused(said, errors.ConverterError, "cannot be an ext4 file system", "etc/file", "user.large")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["oci:/nowhere"], errors.ImageError, ["the directory /nowhere does not exist"]),
        (["-t", "raw", "-o", "/nowhere/x", "TINY"], errors.OutputError, ["/nowhere does not exist"]),
        (["-t", "floppy", "TINY"], errors.UsageError, ["no converter for type 'floppy'"]),
        (["--max-entries", "none", "TINY"], errors.UsageError, ["--max-entries: expected a number"]),
        (["--fs-type", "ext3", "--bare", "TINY"], errors.LayoutError, ["is not in one", "use ext4"]),
        (["--layout", "/nowhere", "TINY"], errors.LayoutError, ["cannot read the layout"]),
        (["-a", "arm64", "TINY"], errors.ImageError, ["amd64"]),
    ],
)
def test_bad_input(
    place: BuildEnv, out: Path, arguments: list[str], kind: type[errors.DiboError], words: list[str]
) -> None:
    given = [image(place, "tiny", {}) if each == "TINY" else each for each in arguments]
    default = [] if "-o" in given else ["-o", str(out / "disk")]
    said = place.run("dibo", "convert", *default, *given)
    refused(said, kind, *words)
    assert list(out.iterdir()) == []


def test_a_word_for_compression_that_is_none(place: BuildEnv, out: Path) -> None:
    said = convert(place, image(place, "tiny", {}), out, "--bare", DIBO_QCOW2_COMPRESSION="lzma")
    refused(said, errors.UsageError, "DIBO_QCOW2_COMPRESSION", "zstd")
    assert "disk" not in said.err.split("DIBO_QCOW2_COMPRESSION")[0]  # before anything was read
