"""A machine deployed from nothing by `dibo boot-server`, as its user would see it, twice: DHCP, TFTP, iPXE, HTTP, the
ramdisk, the disk, a reboot, SSH.

First the machine pulls its image from a registry, then the server writes another one over iSCSI, and what is in the
partition persistent-state stays. QEMU gives DHCP and TFTP; its boot ROM is iPXE. The machine's network reaches the
boot server and the registry, each at one address and port, and nothing else.

DIBO_BOOT_DEPLOYED names an image that is there already, for work on the tests themselves.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dibo.errors import CommandFailed
from dibo.machines.machine import MAC, PortForward
from dibo.system import process
from tests.boot.conftest import BUILD_SECONDS, FLAVOURS, STACK, TOKEN, Disks
from tests.support import user
from tests.support.machines.cloud_init_seed import make_seed
from tests.support.machines.direct_boot import SERVER, free_port
from tests.support.machines.qemu import Machine
from tests.support.requirements import need, unmet
from tests.support.servers.registry import OCI_MANIFEST, Registry, registry

pytestmark = pytest.mark.boot

KEY = "open-sesame"
KEPT = "/var/lib/first-boot-probe/kept"  # the probe names that directory to persistent-state
LOST = "/var/lib/lost"
SCRIPT = f"#!ipxe\nchain http://{SERVER}:10000/boot.ipxe\n"
REGISTRY = "10.0.2.5"
SECONDS = 1500.0  # of a deployment without KVM on a machine that does other things, too
# A machine that is slow enough has its ESP only after systemd's 90 s.
LAYOUT = """\
table: gpt
partitions:
  - {name: bios, type: bios-boot, size: 1MiB, content: grub-core}
  - name: esp
    type: esp
    size: 64MiB
    filesystem: vfat
    label: UEFI
    mount: /boot/efi
    options: [nofail, x-systemd.device-timeout=900]
    content: esp
  - {name: persistent-state, type: linux, size: 32MiB, filesystem: ext4, label: state}
  - {name: root, type: linux-root, size: rest, filesystem: ext4, label: cloudimg-rootfs, mount: /}
"""


@pytest.fixture(scope="module")
def stateful(disks: Disks) -> Iterator[Path]:
    """The image that all tests boot, with persistent-state, and no larger than it must be: pushed and converted, since
    a build runs that flavour's wish for room."""
    if given := os.environ.get("DIBO_BOOT_DEPLOYED"):
        yield Path(given)
        return
    builder = user.ordinary_user()
    directory = user.directory_of(builder)
    directory.chmod(0o755)
    layout, output = directory / "layout.yaml", directory / "stateful.qcow2"
    layout.write_text(LAYOUT)
    name = disks.name.replace("/probe:", "/stateful:")
    wishes = ["--base", "debian", "--flavours-path", str(FLAVOURS), *STACK, "persistent-state"]
    convert = ["-o", str(output), "--layout", str(layout), "--image-size", "1"]
    try:
        try:
            user.run_as(builder, "dibo", ["build", "--push", name, *wishes], timeout=BUILD_SECONDS)
            user.run_as(builder, "dibo", ["convert", name, *convert], timeout=BUILD_SECONDS)
        except CommandFailed as error:
            pytest.fail("\n".join(("the image was not made:", *error.tail)), pytrace=False)
        yield output
    finally:
        shutil.rmtree(directory)


@dataclass
class Served:
    """A `dibo boot-server` in a process of its own, with one machine."""

    directory: Path
    ramdisk: Path
    entry: dict[str, Any]

    def __post_init__(self) -> None:
        self.port = free_port()
        self.lines: list[str] = []
        self._machines = self.directory / "machines.yaml"

    @contextmanager
    def running(self) -> Iterator[None]:
        self.change()
        argv = [
            *(user.program("dibo"), "boot-server", str(self._machines), "--ramdisk", str(self.ramdisk)),
            *("--listen", "127.0.0.1", "--port", str(self.port), "--patience", "600"),
        ]
        with process.Process(argv, streams=process.Streams(on_output=self.lines.append)):
            yield

    def change(self, **changes: object) -> None:
        """In the file, as an administrator would."""
        self.entry |= changes
        part = self._machines.with_suffix(".part")
        part.write_text(yaml.safe_dump({"machines": {"7": self.entry}}))
        part.replace(self._machines)

    def shown(self) -> dict[str, Any]:
        token = self._machines.with_name(f"{self._machines.name}.token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/machines", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            (found,) = json.load(answer)["machines"]
        return dict(found)


def push_disk(server: Registry, image: Path) -> str:
    """As an artefact of one file; the digest of the file."""
    blob = server.push_blob("disks/probe", image.read_bytes())
    blob["annotations"] = {"org.opencontainers.image.title": image.name}
    empty = server.push_blob("disks/probe", b"{}") | {"mediaType": "application/vnd.oci.empty.v1+json"}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.disk",
        "config": empty,
        "layers": [blob],
    }
    server.push("disks/probe", "1", manifest, OCI_MANIFEST)
    return str(blob["digest"])


def deployed(machine: Machine, number: int) -> dict[str, str]:
    """Waits until the machine is up after a deployment; what it says of itself. SSH takes no other host key than before
    the deployment."""
    done = f"machine 7: deployment {number} is done: booting from the disk"
    machine.wait_for_console(done, timeout=SECONDS)
    up = machine.wait_until_up(timeout=SECONDS)
    assert up.state == "running", up
    return machine.ask(
        {
            "name": "hostname",
            "root": "findmnt -no LABEL /",
            "size": "df --output=size -B1 / | tail -n 1",
            "table": "sudo sfdisk --verify /dev/vda 2>&1",
            "state": "findmnt -no LABEL /mnt/state",
            "host keys": "cat /etc/ssh/ssh_host_*_key.pub",
            "machine id": "cat /etc/machine-id",
            "kept": f"sudo cat {KEPT}",
            "lost": f"sudo cat {LOST}",
            "leave": f"echo kept | sudo tee {KEPT}; echo lost | sudo tee {LOST}",
        }
    )


def test_from_an_empty_disk_to_ssh_by_pull_and_again_by_iscsi(
    ramdisk: Path, stateful: Path, tmp_path: Path
) -> None:
    need("qemu-img", "busybox", "docker-registry")
    if "iscsi" not in process.run(["qemu-img", "--help"], capture=True, check=False).stdout:
        unmet("qemu-img knows no iSCSI; install it: sudo apt-get install qemu-block-extra")
    (tmp_path / "tftp").mkdir()
    (tmp_path / "tftp" / "boot.ipxe").write_text(SCRIPT)
    (tmp_path / "registry").mkdir()
    portal, word = free_port(), free_port()
    entry = {
        "key": KEY,
        "mac": MAC,
        "method": "pull",
        "image": f"oci://{REGISTRY}:5000/disks/probe:1",
        "cmdline": "console=ttyS0 image_plain_http",
        "disk": "vda",
        "address": "10.0.2.15",
        "portal": f"127.0.0.1:{portal}",
        "word": f"127.0.0.1:{word}",
    }
    empty = tmp_path / "empty.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "10G"])
    served = Served(tmp_path, ramdisk, entry)
    with registry(tmp_path / "registry") as images:
        digest = push_disk(images, stateful)
        machine = Machine(
            empty,
            directory=tmp_path / "machine",
            seed=make_seed(tmp_path / "seed", hostname="deployed", files=[(TOKEN, "\n")]),
            network=f"tftp={tmp_path / 'tftp'},bootfile=boot.ipxe"
            f",guestfwd=tcp:{SERVER}:10000-cmd:busybox nc 127.0.0.1 {served.port}"
            f",guestfwd=tcp:{REGISTRY}:5000-cmd:busybox nc {images.host.replace(':', ' ')}",
            ports=[PortForward(guest=3260, here=portal), PortForward(guest=10000, here=word)],
            network_boot=True,
        )
        with served.running(), machine:
            first = deployed(machine, 1)
            pulled = served.shown()
            served.change(deployment=2, method="iscsi", image=str(stateful), cmdline="console=ttyS0")
            machine.start_reboot()
            second = deployed(machine, 2)
            written = served.shown()
    for seen in (first, second):
        assert seen["name"].strip() == "deployed" and seen["root"].strip() == "cloudimg-rootfs"
        assert int(seen["size"]) > 8 << 30
        assert "No errors detected" in seen["table"]
        assert seen["state"].strip() == "state"
        assert seen["lost"] == ""
    assert (first["kept"], second["kept"].strip()) == ("", "kept")
    for same in ("host keys", "machine id"):
        assert second[same] == first[same] != ""
    assert (pulled["state"], pulled["deployed"], pulled["error"], pulled["digest"]) == (
        "done",
        1,
        None,
        digest,
    )
    assert (written["state"], written["deployed"], written["error"]) == ("done", 2, None)
    assert "7: the partition persistent-state was kept" in served.lines
    console = machine.console_text()
    assert console.count("dibo: machine 7: booting to be deployed") == 2
    assert KEY not in console and KEY not in "\n".join(served.lines)
