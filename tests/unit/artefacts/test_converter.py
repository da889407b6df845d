"""converter.yaml: found on a search path, read strictly."""

from __future__ import annotations

import gzip
import os
import subprocess
import time
from pathlib import Path

import pytest

from dibo.artefacts.converter import Converters, Takes, load_converter
from dibo.errors import ConverterError, UsageError
from dibo.system import package_names, resources
from tests.support.requirements import need


def write(directory: Path, kind: str, text: str) -> Path:
    (directory / kind).mkdir(parents=True)
    (directory / kind / "converter.yaml").write_text(text)
    return directory / kind


def test_those_that_come_with_dibo() -> None:
    converters = Converters([resources.shared("converters")])
    assert set(converters.types) >= {
        "erofs",
        "gce",
        "iso",
        "ova",
        "qcow2",
        "raw",
        "raw.zst",
        "squashfs",
        "tar",
        "tgz",
        "uki",
        "vdi",
        "vhd",
        "vhdx",
        "vmdk",
    }
    for each in converters:
        assert each.summary
        assert (each.path / "README.md").read_text().startswith(f"# {each.type}")
        assert set(each.tools) <= set(package_names.PACKAGES), "or nobody is told what to install"
        if each.command and "/" in each.command[0]:
            assert (each.path / each.command[0]).stat().st_mode & 0o111


def test_a_whole_one(tmp_path: Path) -> None:
    path = write(
        tmp_path, "ova", "summary: An appliance\ntakes: disk\ntools: [tar]\ncommand: [./convert, --fast]\n"
    )
    found = load_converter(path)
    assert (found.type, found.summary, found.takes) == ("ova", "An appliance", Takes.DISK)
    assert (found.tools, found.command) == (("tar",), ("./convert", "--fast"))
    assert found.sector == 0


@pytest.mark.parametrize("kind", ["gce", "vhd", "vhdx", "vmdk", "vdi", "ova", "vagrant-libvirt"])
def test_types_of_one_size_of_sectors(kind: str) -> None:
    assert Converters([resources.shared("converters")]).get(kind).sector == 512


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected takes: disk or qcow2 or root"),
        ("takes: tree", "expected takes: disk or qcow2 or root"),
        ("takes: [disk]", "expected takes: disk or qcow2 or root"),
        ("- takes", "expected takes: disk or qcow2 or root"),
        ("takes: disk\nsuffix: ../x", "suffix must be the end of a file's name"),
        ("takes: disk\nunit: 5", "unit must be a size such as 1GiB, got 5"),
        ("takes: disk\nunit: wide", "unit must be a size such as 1GiB, got 'wide'"),
        ("takes: disk\nmakes: files", "expected makes: file or directory"),
        ("takes: disk\ncomand: [x]", "unknown key 'comand'; did you mean 'command'"),
        ("takes: disk\ncommand: ./convert", "command must be a list of strings"),
        ("takes: disk\ntools: [1]", "tools must be a list of strings"),
        ("takes: [", r"cannot read .*converter\.yaml"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConverterError, match=says):
        load_converter(write(tmp_path, "ova", text))


def test_the_first_directory_wins(tmp_path: Path) -> None:
    write(tmp_path / "mine", "raw", "takes: root\n")
    write(tmp_path / "theirs", "raw", "takes: disk\n")
    write(tmp_path / "theirs", "ova", "takes: disk\n")
    (tmp_path / "mine" / "notes").mkdir()
    converters = Converters([tmp_path / "mine", tmp_path / "theirs"])
    assert converters.types == ("ova", "raw")
    assert converters.get("raw").takes is Takes.ROOT


def test_an_unknown_type_names_the_nearest(tmp_path: Path) -> None:
    converters = Converters([resources.shared("converters")])
    with pytest.raises(UsageError, match="no converter for type 'qcow'; did you mean 'qcow2'") as caught:
        converters.get("qcow")
    assert "squashfs" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.raw", "raw"),
        ("web.raw.gz", "raw.gz"),
        ("web.raw.tar.gz", "gce"),
        ("web.containerdisk.tar", "containerdisk"),
        ("web.efi", "uki"),
        ("web", None),
        ("raw", None),
        ("web.1", None),
    ],
)
def test_the_type_of_a_name(name: str, kind: str | None) -> None:
    converter = Converters([resources.shared("converters")]).of_name(name)
    assert (converter.type if converter else None) == kind


def test_a_name_that_has_no_ending_reads_no_converter(tmp_path: Path) -> None:
    write(tmp_path, "broken", "takes: nothing\n")
    assert Converters([tmp_path]).of_name("web") is None


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConverterError, match=r"the converters directory .*nowhere does not exist"):
        Converters([tmp_path / "nowhere"])


def test_a_squashfs_by_whichever_mksquashfs_is_here(tmp_path: Path) -> None:
    """Debian 12's takes the time by the variable or by an option, not by both."""
    need("mksquashfs", "unsquashfs", "tar")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    tar = subprocess.run(["tar", "-C", str(tmp_path / "tree"), "-c", "."], capture_output=True, check=True)
    convert = resources.shared("converters") / "squashfs" / "convert"
    made = []
    for name in ("one", "other"):
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
        output = tmp_path / name
        subprocess.run([convert, output], input=tar.stdout, env=environment, check=True)
        made.append(output.read_bytes())
        time.sleep(1.1)  # squashfs counts seconds
    assert made[0] == made[1]
    listed = subprocess.run(["unsquashfs", "-l", str(tmp_path / "one")], capture_output=True, text=True)
    assert "squashfs-root/file" in listed.stdout


@pytest.mark.parametrize(
    ("kind", "hint"), [("docker", "dibo build --tag"), ("aci", "-t tar is the same"), ("vpc", "-t vhd")]
)
def test_types_that_have_another_name_here(kind: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"dibo has no type '{kind}'") as caught:
        Converters([resources.shared("converters")]).get(kind)
    assert hint in caught.value.hint


def test_a_tar_is_compressed_to_the_same_bytes_twice(tmp_path: Path) -> None:
    program = resources.shared("converters") / "tgz" / "convert"
    made = []
    for name in ("a", "b"):
        subprocess.run([program, tmp_path / name], input=b"tar", check=True)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    assert gzip.decompress(made[0]) == b"tar"
