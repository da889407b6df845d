"""Ramdisks, booted by QEMU: deployment by its protocol, inventory, burn-in, and what goes wrong.

Two ramdisks with Debian's kernel serve all tests. DIBO_BOOT_RAMDISK and DIBO_BOOT_EXAMINER name such that are there
already (their kernels beside them), for work on the tests themselves.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dibo.machines.machine import MAC
from dibo.ramdisk.make import kernel_path
from tests.support.disks.gpt_disks import make_disk, problems_of
from tests.support.machines.direct_boot import SERVER, DirectMachine, FormServer
from tests.support.requirements import need, unmet
from tests.support.servers.fake_web_server import FakeWebServer
from tests.support.servers.registry import OCI_MANIFEST, registry

pytestmark = pytest.mark.boot

IQN = "iqn.2026-11.example.dibo:machine-7"
KEY = "open-sesame"
PARAMETERS = (
    f"iscsi_target_iqn={IQN} deployment_id=7 deployment_key={KEY} boot_server={SERVER} finish=poweroff"
)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(512 << 20)
    return path


def usb_stick(path: Path) -> list[str]:
    drive = f"if=none,id=stick,format=raw,cache=unsafe,file={path}"
    return ["-device", "qemu-xhci", "-drive", drive, "-device", "usb-storage,drive=stick"]


def test_a_deployment(ramdisk: Path, disk: Path, tmp_path: Path) -> None:
    """The server writes over iSCSI; the machine hears that it is done, and ends. A USB stick, which is sda, is not what
    is written to."""
    stick = tmp_path / "stick.raw"
    stick.write_bytes(data := random.Random(9).randbytes(8 << 20))
    need("qemu-img")
    if "iscsi" not in subprocess.run(["qemu-img", "--help"], capture_output=True, text=True).stdout:
        unmet("qemu-img knows no iSCSI; install it: sudo apt-get install qemu-block-extra")
    image = tmp_path / "image.raw"
    image.write_bytes(random.Random(7).randbytes(16 << 20))

    def deploy(form: Mapping[str, str]) -> None:
        target = f"iscsi://127.0.0.1:{machine.port(3260)}/{form['n']}/1"
        subprocess.run(
            ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", str(image), target], check=True
        )
        with socket.create_connection(("127.0.0.1", machine.port(10000))) as word:
            word.sendall(b"done")

    with (
        FormServer(work=deploy) as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=PARAMETERS,
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
            ports=[3260, 10000],
            extra=usb_stick(stick),
        ) as machine,
    ):
        machine.wait_for("/dev/vda is written")
        machine.wait_until_off()
    assert server.failures == []
    assert server.bodies == [f"i=7&k={KEY}&a=10.0.2.15&n={IQN}"]  # as the form always was, byte for byte
    with disk.open("rb") as written:
        assert written.read(16 << 20) == image.read_bytes()
    assert stick.read_bytes() == data
    assert "sda (usb," in machine.text
    assert KEY not in machine.text


def test_a_server_that_refuses_and_a_shell_for_whoever_is_there(
    ramdisk: Path, disk: Path, tmp_path: Path
) -> None:
    """The disk has sectors of 4096 bytes, which the server is told."""
    drive = f"if=none,id=large,format=raw,cache=unsafe,file={disk}"
    device = "virtio-blk-pci,drive=large,logical_block_size=4096,physical_block_size=4096"
    with (
        FormServer(status=400) as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"disk=vda {PARAMETERS}",
            directory=tmp_path,
            server=(10000, server.port),
            extra=["-drive", drive, "-device", device],
        ) as machine,
    ):
        machine.wait_for(f"FAILED: deploy: the boot server {SERVER} refused this machine")
        machine.wait_for("a shell is open on: ttyS0")
        machine.wait_for("/ # ")
        machine.type("echo shell-$((6 * 7)); grep -c . /run/dibo/log; env | grep -c open-sesame")
        machine.wait_for("shell-42")
        machine.type("exit")
        machine.wait_until_off()
    assert [form["z"] for form in server.forms] == ["4096"]
    assert KEY not in machine.text.replace("grep -c open-sesame", "")


def forward(port: int, here: int) -> str:
    """For QEMU's network: a further port of SERVER."""
    return f"guestfwd=tcp:{SERVER}:{port}-cmd:busybox nc 127.0.0.1 {here}"


def test_an_image_is_pulled_from_a_registry(ramdisk: Path, disk: Path, tmp_path: Path) -> None:
    """A qcow2, onto a disk with a state that is kept."""
    need("qemu-img")
    parts = {"esp": (1, 8), "persistent-state": (9, 4), "root": (13, 40)}
    image = make_disk(tmp_path / "image", 64, parts)
    kept = random.Random(8).randbytes(4 << 20)
    make_disk(disk, 512, {"old": (1, 8), "persistent-state": (9, 4)}, seed=9)
    with disk.open("r+b") as file:
        file.seek(9 << 20)
        file.write(kept)
    qcow2 = tmp_path / "image.qcow2"
    argv = [
        "qemu-img",
        "convert",
        "-c",
        "-o",
        "compression_type=zstd",
        "-O",
        "qcow2",
        str(tmp_path / "image"),
        str(qcow2),
    ]
    subprocess.run(argv, check=True)
    (tmp_path / "registry").mkdir()
    with registry(tmp_path / "registry") as held, FormServer() as server:
        layer = held.push_blob("images/web", qcow2.read_bytes())
        config = held.push_blob("images/web", b"{}") | {"mediaType": "application/vnd.oci.empty.v1+json"}
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
        held.push("images/web", "1", manifest, OCI_MANIFEST)
        reference = f"oci://{SERVER}:5000/images/web:1"
        with DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"disk=vda deploy_method=pull image={reference} image_plain_http {PARAMETERS}",
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
            network=forward(5000, int(held.host.rpartition(":")[2])),
        ) as machine:
            machine.wait_for("keeping the partition persistent-state: 4 MiB")
            machine.wait_for("the digest holds; /dev/vda is written")
            machine.wait_until_off()
    states = [form["s"] for form in server.forms]
    assert (states[0], states[-1]) == ("started", "done") and set(states[1:-1]) <= {"writing"}
    assert server.bodies[0] == f"i=7&k={KEY}&a=10.0.2.15&s=started&m={reference}"
    assert server.forms[-1]["d"] == layer["digest"]
    assert problems_of(disk) == ""
    found = disk.read_bytes()
    assert found[9 << 20 : 13 << 20] == kept
    assert found[:440] == image[:440] and found[1 << 20 : 9 << 20] == image[1 << 20 : 9 << 20]
    assert found[13 << 20 : 63 << 20] == image[13 << 20 : 63 << 20]
    assert KEY not in machine.text


def test_a_cable_that_is_pulled_half_way(ramdisk: Path, disk: Path, tmp_path: Path) -> None:
    """Silence after some mebibytes, for ever: the disk does not boot, and everybody knows."""
    image = make_disk(tmp_path / "image", 64, {"root": (1, 40)})
    make_disk(disk, 512, {"old": (1, 8)}, seed=9)
    with FakeWebServer() as web, FormServer() as server:
        web.site.files["/web.raw"] = image
        web.site.inject("/web.raw", "hang:9000000", *["hang:0"] * 9)
        digest = f"sha256:{hashlib.sha256(image).hexdigest()}"
        wanted = f"image=http://{SERVER}:8000/web.raw image_digest={digest} image_timeout=8 image_tries=2"
        with DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"disk=vda deploy_method=pull {wanted} troubleshoot=off {PARAMETERS}",
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
            network=forward(8000, int(web.url.rpartition(":")[2])),
        ) as machine:
            machine.wait_for("FAILED: deploy: ")
            machine.wait_until_off()
    assert "a shell is open" not in machine.text
    why = machine.text.partition("FAILED: deploy: ")[2].partition("\n")[0]
    assert "it does not answer; tried 2 times; the disk is written in part, and does not boot" in why
    states = [form["s"] for form in server.forms]
    assert (states[0], states[-1], server.forms[-1]["e"]) == ("started", "failed", why)
    found = disk.read_bytes()
    assert found[: 1 << 20] == bytes(1 << 20) and found[-33 * 512 :] == bytes(33 * 512)
    assert found[1 << 20 : 8 << 20] == image[1 << 20 : 8 << 20]


@pytest.mark.long
def test_a_switch_that_looks_for_loops_first(ramdisk: Path, disk: Path, tmp_path: Path) -> None:
    """The spanning tree protocol lets nothing through for a while after the link is up, 30 s by its defaults (IEEE
    802.1D); here until a first round of asking for an address has ended."""
    filtered = "filter-redirector,id=stp,netdev=net,queue=all,outdev=nobody"
    with (
        FormServer(status=400) as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"disk=vda troubleshoot=off {PARAMETERS}",
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
            extra=("-chardev", "null,id=nobody", "-object", filtered),
        ) as machine,
    ):
        machine.wait_for("no network yet; the next try is in 3 s")
        assert server.forms == []
        machine.monitor.execute("qom-set", path="/objects/stp", property="status", value="off")
        machine.wait_for("network ready: ")
        machine.wait_for("refused this machine")
        machine.wait_until_off()
    assert len(server.forms) == 1


def between(text: str, what: str) -> Any:
    """The JSON document that a machine printed between two marks."""
    return json.loads(text.partition(f"-----BEGIN {what}-----\n")[2].partition(f"-----END {what}-----")[0])


def scsi_disk_and_cd_drive(directory: Path) -> list[str]:
    """A disk with a serial number, a WWN and sectors of 4096 bytes; a drive with a disc."""
    for name in ("scsi.raw", "disc.iso"):
        with (directory / name).open("wb") as file:
            file.truncate(8 << 20)
    return [
        *("-device", "virtio-scsi-pci"),
        *("-drive", f"if=none,id=scsi,format=raw,cache=unsafe,file={directory / 'scsi.raw'}"),
        "-device",
        "scsi-hd,drive=scsi,serial=REAL-7,wwn=0x5000c500a1b2c3d4,logical_block_size=4096,physical_block_size=4096",
        *("-drive", f"if=none,id=disc,format=raw,readonly=on,file={directory / 'disc.iso'}"),
        *("-device", "ide-cd,drive=disc"),
    ]


def test_inventory_and_burn_in(examiner: Path, disk: Path, tmp_path: Path) -> None:
    """One disk may be overwritten, and is; the other must not be."""
    kept = tmp_path / "kept.raw"
    kept.write_bytes(data := random.Random(7).randbytes(32 << 20))
    with disk.open("r+b") as file:
        file.write(b"old" * 1000)
    with DirectMachine(
        kernel_path(examiner),
        examiner,
        cmdline="finish=poweroff burnin_minutes=1 burnin_disks=vda",
        directory=tmp_path,
        disks=[disk, kept],
        processors=2,
        extra=scsi_disk_and_cd_drive(tmp_path),
    ) as machine:
        machine.wait_for("-----END INVENTORY-----")
        machine.wait_for("burn-in passed")
        machine.wait_until_off()
    found = between(machine.text, "INVENTORY")
    disks = {each["name"]: each for each in found["disks"]}
    assert disks["/dev/vda"]["size"] == 512 << 20 and disks["/dev/vda"]["serial"] == "dibo-test-0"
    assert disks["/dev/vdb"]["size"] == 32 << 20 and disks["/dev/vdb"]["serial"] == "dibo-test-1"
    scsi = disks["/dev/sda"]
    assert (scsi["serial"], scsi["wwn"]) == ("REAL-7", "5000c500a1b2c3d4")
    assert (scsi["bus"], scsi["sector_size"], scsi["removable"]) == ("scsi", 4096, 0)
    assert set(disks) == {"/dev/vda", "/dev/vdb", "/dev/sda"}
    (interface,) = found["interfaces"]
    assert interface["speed"] is None
    assert (interface["mac"], interface["link"], interface["driver"]) == (MAC, True, "virtio_net")
    assert found["boot"] == {"mac": MAC, "address": "10.0.2.15"}
    assert found["cpu"]["threads"] == 2 and 800 << 20 < found["memory"] < 1024 << 20
    assert found["dmi"]["sys_vendor"] == "QEMU" and found["firmware"] == "bios" and found["bmc"] is None
    assert found["numa"][0]["cpus"] == "0-1"
    assert "memory" in json.dumps(found["lshw"])

    verdict = between(machine.text, "BURNIN")
    assert (verdict["passed"], verdict["minutes"]) == (True, 1)
    assert [(each["test"], each["passed"]) for each in verdict["tests"]] == [
        ("memory", True),
        ("processors", True),
        ("disk /dev/sda", True),
        ("disk /dev/vda", True),
        ("disk /dev/vdb", True),
    ]
    assert "/dev/vda: overwriting it" in machine.text and "/dev/vdb: reading it" in machine.text
    assert kept.read_bytes() == data
    with disk.open("rb") as file:
        assert b"old" not in file.read(3000)


def test_a_burn_in_that_fails_names_what_failed(examiner: Path, tmp_path: Path) -> None:
    """A disk that cannot be read in the middle: QEMU's blkdebug makes one. The inventory goes to a server meanwhile."""
    disk = tmp_path / "bad.raw"
    with disk.open("wb") as file:
        file.truncate(32 << 20)
    rules = tmp_path / "rules"
    rules.write_text('[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "4096"\n')
    drive = f"if=none,id=bad,format=raw,rerror=report,file=blkdebug:{rules}:{disk}"
    with (
        FormServer() as server,
        DirectMachine(
            kernel_path(examiner),
            examiner,
            cmdline=f"finish=poweroff troubleshoot=off burnin_minutes=1 inventory_url=http://{SERVER}:8080/inventory",
            directory=tmp_path,
            server=(8080, server.port),
            extra=["-drive", drive, "-device", "virtio-blk-pci,drive=bad"],
        ) as machine,
    ):
        machine.wait_for("the inventory was sent to")
        machine.wait_for("FAILED: hwburnin: failed: disk /dev/vda")
        machine.wait_until_off()
    (body,) = server.bodies
    assert json.loads(body)["disks"][0]["name"] == "/dev/vda"
    verdict = between(machine.text, "BURNIN")
    assert verdict["passed"] is False
    assert [each["test"] for each in verdict["tests"] if each["passed"] is False] == ["disk /dev/vda"]


def test_a_shell_when_asked_for_and_why_it_failed_to_a_server(
    ramdisk: Path, disk: Path, tmp_path: Path
) -> None:
    """The log, and a line of why. Another disk is there than those that are named: for the first disk of all, a ramdisk
    waits longer."""
    with (
        FormServer() as server,
        DirectMachine(
            kernel_path(ramdisk),
            ramdisk,
            cmdline=f"troubleshoot disk=sdz,nvme9n1 {PARAMETERS} log_url=http://{SERVER}:10000/log",
            directory=tmp_path,
            disks=[disk],
            server=(10000, server.port),
        ) as machine,
    ):
        machine.wait_for("network ready")
        machine.wait_for("/ # ")
        assert "dibo: deploy" not in machine.text
        machine.type("exit")
        machine.wait_for("FAILED: deploy: none of these disks is there: sdz,nvme9n1")
        machine.wait_for("a shell is open on: ttyS0", times=2)
    (reason,) = [form["e"] for form in server.forms if "e" in form]
    there = "vda (virtio, 536 MB, serial dibo-test-0)"
    assert reason == f"none of these disks is there: sdz,nvme9n1; there are: {there}"
    assert server.bodies[-1].splitlines()[-1].startswith("dibo: FAILED: deploy: none of these disks")
    assert KEY not in server.bodies[-1]


def test_a_kernel_that_panics_is_noticed_while_its_machine_is_on(ramdisk: Path, tmp_path: Path) -> None:
    cmdline = "rdinit=/nowhere root=/dev/nowhere"
    with (
        DirectMachine(kernel_path(ramdisk), ramdisk, cmdline=cmdline, directory=tmp_path) as machine,
        pytest.raises(AssertionError, match="the console says 'Kernel panic - not syncing'"),
    ):
        machine.wait_for("network ready")


def test_no_network_is_no_silence(ramdisk: Path, tmp_path: Path) -> None:
    """The cable is not plugged in, and nobody asked for a shell."""
    with DirectMachine(
        kernel_path(ramdisk),
        ramdisk,
        cmdline=f"troubleshoot=off network_seconds=1 {PARAMETERS}",
        directory=tmp_path,
        link=False,
    ) as machine:
        machine.wait_for("no network")
        machine.wait_for("trying again")
        machine.wait_for("FAILED: deploy: there is no network")
        machine.wait_until_off()


@pytest.mark.parametrize(
    ("cmdline", "network", "said"),
    [
        ("ip=10.0.2.77:10.0.2.2:10.0.2.2:255.255.255.0", "", "has 10.0.2.77, the boot server is 10.0.2.2"),
        pytest.param(
            "ip=[fd00::7]:[fd00::1]:[fd00::2]:64",
            "ipv4=off",
            "has fd00::7, the boot server is fd00::1",
            marks=pytest.mark.long,
        ),
        ("boot_server=fd00::1", "ipv4=off,ipv6-prefix=fd00::", "the boot server is fd00::1"),
    ],
    ids=["a static address", "a static IPv6 address", "router advertisements"],
)
def test_networks(examiner: Path, tmp_path: Path, cmdline: str, network: str, said: str) -> None:
    """Beside DHCP, which the others have."""
    with DirectMachine(
        kernel_path(examiner),
        examiner,
        cmdline=f"{cmdline} finish=poweroff",
        directory=tmp_path,
        network=network,
    ) as machine:
        machine.wait_for("-----END INVENTORY-----")
    assert said in machine.text.partition("network ready: ")[2].partition("\n")[0]
    address = said.split()[1].rstrip(",") if said.startswith("has") else "fd00::"
    assert between(machine.text, "INVENTORY")["boot"]["address"].startswith(address)
