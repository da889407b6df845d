"""Types that dibo packs itself, taken apart by the rules of those who read them."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest

from dibo.artefacts.converter import Converters, Takes
from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.table import BUILT_IN, STREAMED
from dibo.errors import UsageError
from dibo.formats.open_target import TYPES, copy_raw, open_target
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.images.sources.choose import choose_image
from dibo.system import resources
from dibo.units import MIB
from tests.support.disks.sample_disk import sample_disk

TIME = 1_700_000_000
IDENTITY = ImageIdentity(uuid=UUID("12345678-1234-5678-1234-567812345678"), time=TIME)
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"


def made(tmp_path: Path, kind: str, options: dict[str, str] | None = None, *, name: str = "web") -> Path:
    """The artefact of a sample disk."""
    takes = Converters([resources.shared("converters")]).get(kind).takes
    raw = tmp_path / "disk.raw"
    disk = sample_disk(raw)
    if takes is Takes.QCOW2:
        qcow2 = tmp_path / "disk.qcow2"
        with raw.open("rb") as file, open_target("qcow2", qcow2, len(disk), {}) as target:
            copy_raw(file, target)
        raw = qcow2
    (tmp_path / "out").touch()
    BUILT_IN[kind](
        ConversionJob(
            target=tmp_path / "out",
            name=name,
            architecture="amd64",
            size=len(disk),
            identity=IDENTITY,
            options=options or {},
            disk=raw,
        )
    )
    return tmp_path / "out"


def test_each_type_has_a_directory_without_a_command() -> None:
    without = {each.type for each in Converters([resources.shared("converters")]) if not each.command}
    assert without == {*TYPES, *BUILT_IN, *STREAMED}


def test_sizes_that_clouds_ask_for() -> None:
    converters = Converters([resources.shared("converters")])
    assert converters.get("vhd").unit == MIB
    assert converters.get("gce").unit == 1024 * MIB


def members(path: Path) -> dict[str, bytes]:
    """The files of a tar, in their order. None of them has a time of its own."""
    with tarfile.open(path) as tar:
        assert {member.mtime for member in tar} <= {TIME}
        return {
            member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
            if member.isfile()
        }


def test_an_ova(tmp_path: Path) -> None:
    files = members(made(tmp_path, "ova"))
    assert list(files) == ["web.ovf", "web.mf", "web.vmdk"], "the descriptor comes first (DSP0243, 5.3)"
    sums = dict(line.split("= ") for line in files["web.mf"].decode().splitlines())
    for name in ("web.ovf", "web.vmdk"):
        assert sums[f"SHA256({name})"] == hashlib.sha256(files[name]).hexdigest()
    envelope = ET.fromstring(files["web.ovf"])
    file = envelope.find(f"{OVF}References/{OVF}File")
    disk = envelope.find(f"{OVF}DiskSection/{OVF}Disk")
    assert file is not None
    assert disk is not None
    assert (file.get(f"{OVF}href"), file.get(f"{OVF}size")) == ("web.vmdk", str(len(files["web.vmdk"])))
    assert disk.get(f"{OVF}fileRef") == file.get(f"{OVF}id")
    assert disk.get(f"{OVF}capacity") == str(12 * MIB)
    kinds = [item.findtext(f"{RASD}ResourceType") for item in envelope.iter(f"{OVF}Item")]
    assert kinds == ["3", "4", "6", "17", "10"]
    for item in envelope.iter(f"{OVF}Item"):
        names = [child.tag for child in item]
        assert names == sorted(names), "the schema has them in this order"
    assert b"firmware" not in files["web.ovf"], "the disk begins with code"


def test_an_ova_of_a_disk_for_uefi_alone(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(bytes(440) + b"x" * 72 + bytes(MIB - 512))
    (tmp_path / "out").touch()
    job = ConversionJob(
        target=tmp_path / "out",
        name="a & b",
        architecture="amd64",
        size=MIB,
        identity=IDENTITY,
        options={"DIBO_OVA_CPUS": "4", "DIBO_OVA_MEMORY": "512"},
        disk=tmp_path / "disk.raw",
    )
    BUILT_IN["ova"](job)
    envelope = ET.fromstring(members(tmp_path / "out")["a & b.ovf"])
    (config,) = envelope.iter("{http://www.vmware.com/schema/ovf}Config")
    assert config.get("{http://www.vmware.com/schema/ovf}value") == "efi"
    quantities = [item.findtext(f"{RASD}VirtualQuantity") for item in envelope.iter(f"{OVF}Item")]
    assert quantities[:2] == ["4", "512"]
    assert envelope.findtext(f"{OVF}VirtualSystem/{OVF}Name") == "a & b"


@pytest.mark.parametrize("value", ["0", "many", "-1", "9999999999", "1.5"])
def test_a_number_of_cpus_that_is_none(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="DIBO_OVA_CPUS"):
        made(tmp_path, "ova", {"DIBO_OVA_CPUS": value})


def test_a_box_for_virtualbox(tmp_path: Path) -> None:
    files = members(made(tmp_path, "vagrant-virtualbox"))
    assert set(files) == {"metadata.json", "Vagrantfile", "box.ovf", "disk.vmdk"}
    assert json.loads(files["metadata.json"]) == {"provider": "virtualbox"}
    assert b'base_mac = "080027123456"' in files["Vagrantfile"]
    assert b'"disk.vmdk"' in files["box.ovf"]


def test_a_box_for_libvirt(tmp_path: Path) -> None:
    files = members(made(tmp_path, "vagrant-libvirt"))
    assert set(files) == {"metadata.json", "Vagrantfile", "box.img"}
    assert json.loads(files["metadata.json"]) == {"provider": "libvirt", "format": "qcow2", "virtual_size": 1}
    assert files["box.img"] == (tmp_path / "disk.qcow2").read_bytes()


def test_a_container_disk(tmp_path: Path) -> None:
    archive = made(tmp_path, "containerdisk")
    assert next(iter(members(archive))) == "oci-layout"
    with choose_image(f"oci-archive:{archive}", architecture="amd64", scratch=tmp_path) as image:
        (layer,) = image.layers
        with layer.open() as stream:
            (tmp_path / "layer").write_bytes(b"".join(iter(lambda: stream.read(1 << 20), b"")))
    assert f"sha256:{hashlib.sha256((tmp_path / 'layer').read_bytes()).hexdigest()}" == layer.digest
    with tarfile.open(tmp_path / "layer") as tar:
        directory, disk = tar.getmembers()
        assert (directory.name, directory.isdir(), disk.name) == ("disk", True, "disk/disk.qcow2")
        assert {(member.uid, member.gid) for member in (directory, disk)} == {(107, 107)}
        assert tar.extractfile(disk).read() == (tmp_path / "disk.qcow2").read_bytes()  # type: ignore[union-attr]


def test_googles_tar(tmp_path: Path) -> None:
    data = gzip.decompress(made(tmp_path, "gce").read_bytes())
    (tmp_path / "tar").write_bytes(data)
    assert members(tmp_path / "tar") == {"disk.raw": (tmp_path / "disk.raw").read_bytes()}


@pytest.mark.parametrize(
    "kind",
    [
        each.type
        for each in Converters([resources.shared("converters")])
        if each.type in BUILT_IN and each.has_disk
    ],
)
def test_the_same_bytes_again(tmp_path: Path, kind: str) -> None:
    first = made(tmp_path, kind).read_bytes()
    (tmp_path / "out").unlink()
    assert made(tmp_path, kind).read_bytes() == first
