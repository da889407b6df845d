"""A virtual machine as QEMU's arguments: a function of the value alone.

Every device is named here: QEMU's defaults differ between versions, so -nodefaults and -no-user-config turn them off.
What QEMU itself may do is limited by its own filter of system calls (-sandbox): no programs unless the machine needs
them, no other ids.

Where each emulated processor has a thread of its own, one can run a stale translation of code that a kernel has just
patched on the other: so without KVM a machine has one processor unless more are asked for.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from dibo.machines.boards import FirmwareKind
from dibo.machines.machine import MAC, FirmwareFiles, MachineDisk, PortForward, VirtualMachine
from dibo.units import SECTOR


def qemu_arguments(machine: VirtualMachine, *, monitor: int) -> list[str]:
    """The program and its arguments. `monitor` is the descriptor, open in QEMU, of the socket for QMP. The serial port
    is its standard input and output."""
    # A program of the network begins with setsid(2), which to QEMU elevates privileges (softmmu/qemu-seccomp.c).
    spawn = "allow" if machine.extras.starts_programs else "deny"
    return [
        machine.board.program,
        *("-nodefaults", "-no-user-config", "-name", machine.name.replace(",", ",,")),
        *("-sandbox", f"on,obsolete=deny,elevateprivileges={spawn},spawn={spawn},resourcecontrol=deny"),
        *_board(machine),
        *("-display", "none", "-S"),  # `cont` starts the guest, when the channels are connected
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        *("-chardev", "stdio,id=console,signal=off"),
        *_console(machine),
        *_screen(machine),
        *firmware_arguments(machine.firmware),
        *_kernel(machine),
        *_credentials(machine),
        *(word for number, disk in enumerate(machine.disks) for word in _disk(disk, number, machine)),
        *_network(machine),
        *("-device", f"virtio-rng-{machine.bus}"),
        *machine.extras.arguments,
    ]


def _board(machine: VirtualMachine) -> list[str]:
    words = [machine.machine]
    if machine.machine in ("q35", "pc"):
        # Without graphics, SeaBIOS writes to the serial port.
        words += [f"graphics={_switch(machine.screen)}", f"smm={_switch(machine.firmware.needs_smm)}"]
    elif machine.machine == "microvm":
        words += ["rtc=on"]
    elif machine.board.architecture == "armhf":
        # Kernels without LPAE, such as Debian's armmp, reach no device above 4 GiB, where PCI is otherwise (QEMU,
        # docs/system/arm/virt.rst).
        words += ["highmem=off"]
    kvm = machine.accelerator.partition(",")[0] in ("kvm", "hvf")
    return [
        *("-machine", ",".join(words), "-accel", machine.accelerator),
        *("-cpu", "host" if kvm else machine.board.processor),
        *("-smp", str(machine.processors), "-m", str(machine.memory)),
    ]


def _switch(setting: object) -> str:
    return "on" if setting else "off"


def _console(machine: VirtualMachine) -> list[str]:
    if machine.bus == "ccw":
        return ["-device", "sclpconsole,chardev=console"]
    return ["-serial", "chardev:console"]


def _screen(machine: VirtualMachine) -> list[str]:
    if not machine.screen:
        return []
    return ["-device", "VGA" if machine.machine in ("q35", "pc", "pseries") else f"virtio-gpu-{machine.bus}"]


def firmware_arguments(firmware: FirmwareFiles) -> Iterator[str]:
    """What loads a firmware; nothing for the machine's own."""
    if firmware.code is None:
        return
    code = escaped(firmware.code)
    if firmware.device != "flash":
        yield from ("-kernel" if firmware.device == "kernel" else "-bios", str(firmware.code))
        return
    yield from ("-drive", f"if=pflash,unit=0,format={firmware.code_format},readonly=on,file={code}")
    if firmware.variables is not None:
        variables = escaped(firmware.variables)
        yield from ("-drive", f"if=pflash,unit=1,format={firmware.variables_format},file={variables}")
    if firmware.needs_smm:
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
        yield from ("-global", "ICH9-LPC.disable_s3=1")


def _kernel(machine: VirtualMachine) -> list[str]:
    if machine.kernel is None:
        return []
    initrd = ["-initrd", str(machine.kernel.initrd)] if machine.kernel.initrd else []
    return ["-kernel", str(machine.kernel.kernel), *initrd, "-append", machine.kernel.arguments]


def _credentials(machine: VirtualMachine) -> Iterator[str]:
    """As strings of SMBIOS, which systemd reads (systemd.system-credentials(7)), on machines that have ACPI."""
    if machine.machine not in ("q35", "pc", "virt") or machine.board.qemu_name == "riscv64":
        return
    for name, value in machine.credentials:
        data = base64.b64encode(value.encode()).decode()
        yield from ("-smbios", f"type=11,value=io.systemd.credential.binary:{name}={data}")


def disk_name(number: int) -> str:
    """What QEMU calls a disk of the machine, counted from 0."""
    return f"disk{number}"


def _disk(disk: MachineDisk, number: int, machine: VirtualMachine) -> list[str]:
    name = disk_name(number)
    drive = f"if=none,id={name},format={disk.format},file.driver=file,file.filename={escaped(disk.path)}"
    if disk.read_only:
        drive += ",readonly=on"
    else:
        drive += ",snapshot=on" if disk.throw_away else ""
        drive += ",cache=unsafe" if disk.throw_away or not disk.is_flushed else ""
        drive += ",discard=unmap"  # holes that a guest makes free the room
    device = f"virtio-blk-{machine.bus},drive={name},serial={disk.serial}"
    if disk.is_started and not disk.read_only and machine.kernel is None:
        device += f",bootindex={number + 1}"
    if disk.sector != SECTOR:
        device += f",logical_block_size={disk.sector},physical_block_size={disk.sector}"
    return ["-drive", drive, "-device", device]


def _network(machine: VirtualMachine) -> list[str]:
    if machine.network == "none":
        return []
    network = "user,id=net" + (",restrict=on" if machine.network == "isolated" else "")
    network += "".join(map(_forward, machine.ports))
    network += f",{machine.extras.network}" if machine.extras.network else ""
    card = f"virtio-net-{machine.bus},netdev=net,mac={MAC}"
    if machine.starts_from_network:
        card += ",bootindex=0"
    elif machine.bus == "pci":
        card += ",romfile="
    return ["-netdev", network, "-device", card]


def _forward(port: PortForward) -> str:
    return f",hostfwd={port.protocol}:{port.address}:{port.here}-:{port.guest}"


def escaped(path: object) -> str:
    """A path in an option of QEMU, where a comma ends a value unless it is written twice."""
    return str(path).replace(",", ",,")


def is_direct(machine: VirtualMachine) -> bool:
    """Whether QEMU loads the kernel."""
    return machine.firmware.kind is FirmwareKind.NONE
