"""What a machine is told that boots over the network: iPXE scripts (https://ipxe.org/scripting).

Paths in a script are relative, so they are those of the server that it came from. A MAC address stands in the
script as the machines file has it: what a client says is not repeated to it.
"""

from __future__ import annotations

import re
from typing import Final

from dibo.deploy.machines import DEFAULT_IQN, Machine, Method

# Which machine it is, iPXE knows: netX is the interface that it booted by.
ASK: Final = "#!ipxe\nchain --replace boot.ipxe?mac=${netX/mac:hexhyp}\n"

# UEFI firmware goes on to its next entry; a BIOS may not, where iPXE was its last.
LOCAL: Final = """\
#!ipxe
echo dibo: {}: booting from the disk
iseq ${{platform}} efi && exit ||
sanboot --no-describe --drive 0x80 || exit
"""


_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:]+)\]|([A-Za-z0-9][A-Za-z0-9.-]{0,252}))(?::[0-9]{1,5})?")


def local(why: str) -> str:
    """Boot from the first disk. `why` is shown; it must be printable."""
    return LOCAL.format(why)


def deploy(machine: Machine, *, key: str, boot_server: str, tls: bool = False) -> str:
    """Boot the ramdisk `deploy`. `boot_server` is the address that the machine reaches this server by, `key` that of
    this deployment."""
    line = command_line(machine, key=key, boot_server=boot_server, tls=tls)
    return (
        f"#!ipxe\necho dibo: machine {machine.id}: booting to be deployed\n"
        f"kernel kernel initrd=ramdisk {line}\n"
        "initrd --name ramdisk ramdisk\nboot\n"
    )


def command_line(machine: Machine, *, key: str, boot_server: str, tls: bool = False) -> str:
    """Of the ramdisk: docs/reference/ramdisk.md and the flavour deploy. `quiet` keeps the kernel from printing it."""
    words = ["quiet"]
    if machine.mac:
        words.append(f"BOOTIF=01-{machine.mac.replace(':', '-')}")
    words.append(f"boot_server={boot_server}")
    if tls:
        words.append("boot_server_tls")
    if machine.disk:
        words.append(f"disk={machine.disk}")
    if machine.method is Method.PULL:
        words += ["deploy_method=pull", f"image={machine.image}"]
        if machine.wipe:
            words.append("persistent_state=wipe")
    else:
        words.append(f"iscsi_target_iqn={target_name(machine)}")
    words += [f"deployment_id={machine.id}", f"deployment_key={key}"]
    return " ".join((*words, machine.cmdline)).strip()


def target_name(machine: Machine) -> str:
    """The IQN that the machine is told to use."""
    return machine.iqn or DEFAULT_IQN.format(machine.id.lower().replace("_", "-").replace("@", "-"))


def host_of(header: str) -> str | None:
    """Of a request's Host: the host without its port, or None where it is no host."""
    match = _HOST.fullmatch(header)
    return (match[1] or match[2]) if match else None
