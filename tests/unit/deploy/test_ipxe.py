from __future__ import annotations

from dataclasses import replace

from dibo.deploy import ipxe
from dibo.deploy.machines import Machine, Method

MACHINE = Machine(
    id="rack_2@7",
    key="open-sesame",
    image="/srv/web.qcow2",
    mac="52:54:00:12:34:56",
    disk="vda",
    cmdline="console=ttyS0",
)


def test_an_export() -> None:
    assert ipxe.deploy(MACHINE, key="drawn", boot_server="192.0.2.1").splitlines() == [
        "#!ipxe",
        "echo dibo: machine rack_2@7: booting to be deployed",
        "kernel kernel initrd=ramdisk quiet BOOTIF=01-52-54-00-12-34-56 boot_server=192.0.2.1 disk=vda"
        " iscsi_target_iqn=iqn.2026-11.dibo:rack-2-7 deployment_id=rack_2@7 deployment_key=drawn console=ttyS0",
        "initrd --name ramdisk ramdisk",
        "boot",
    ]


def test_a_pull() -> None:
    machine = replace(
        MACHINE, method=Method.PULL, image="oci://registry.example/web:1", wipe=True, iqn="", cmdline=""
    )
    words = ipxe.command_line(machine, key="drawn", boot_server="fd00::1").split()
    assert {"deploy_method=pull", "image=oci://registry.example/web:1", "persistent_state=wipe"} <= set(words)
    assert "boot_server=fd00::1" in words and not any(word.startswith("iscsi") for word in words)


def test_the_disk_when_nothing_is_to_be_done() -> None:
    text = ipxe.local("machine 7 is deployed")
    assert text.startswith("#!ipxe\necho dibo: machine 7 is deployed: booting from the disk\n")
    assert "sanboot --no-describe --drive 0x80 || exit" in text and "iseq ${platform} efi && exit ||" in text


def test_hosts_of_requests() -> None:
    assert ipxe.host_of("192.0.2.1:10000") == "192.0.2.1" and ipxe.host_of("[fd00::1]:10000") == "fd00::1"
    assert ipxe.host_of("boot.example") == "boot.example"
    for wrong in ("", "a b", "x\nboot", "${net0/ip}", "-x", "[::1", "a" * 300):
        assert ipxe.host_of(wrong) is None, wrong
