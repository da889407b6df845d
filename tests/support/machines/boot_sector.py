"""A raw disk that a BIOS boots in a moment: sixteen-bit code in its first sector, which writes to the serial port.

What it does afterwards is one of the ENDS. It is loaded at 0x7c00 (the PC's BIOS boot specification); SeaBIOS puts the
power management of the machine q35 at the port 0x600, and ACPI's sleep type 5 with the enable bit ends QEMU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_SIZE: Final = 1 << 20  # SeaBIOS boots no disk of a few sectors
_TEXT_AT: Final = 0x100
_START: Final = bytes.fromhex(
    "fa"  # cli: SeaBIOS reads the serial port when its timer ticks
    "31c0 8ed8 8ec0"  # xor ax, ax; mov ds, ax; mov es, ax
    "bc007c"  # mov sp, 0x7c00
    "be007d"  # mov si, 0x7d00: the text
    "ac 84c0 7406"  # lodsb; test al, al; jz behind the jmp
    "baf803 ee ebf5"  # mov dx, 0x3f8; out dx, al; jmp to the lodsb
)
HALT: Final = bytes.fromhex("f4 ebfd")  # hlt; jmp to the hlt
POWER_OFF: Final = bytes.fromhex("ba0406 b80020 ef") + HALT  # mov dx, 0x604; mov ax, 0x2000; out dx, ax
ECHO: Final = bytes.fromhex(
    "bafd03 ec a801 74f8"  # mov dx, 0x3fd; in al, dx; test al, 1; jz to the mov
    "baf803 ec ee ebf1"  # mov dx, 0x3f8; in al, dx; out dx, al; jmp to the first mov
)
KEY_AND_OFF: Final = bytes.fromhex("bafd03 ec a801 74f8") + POWER_OFF  # the first line of ECHO
WRITE: Final = (
    bytes.fromhex(
        "fb b80103 b90200 ba8000 bb007c cd13"  # sti; int 0x13: this code becomes the second sector, too
    )
    + POWER_OFF
)


def boot_disk(path: Path, text: str, end: bytes = HALT) -> Path:
    """A disk that writes `text`, on a line of its own, and then does what `end` says."""
    code = (_START + end).ljust(_TEXT_AT, b"\0") + f"\r\n{text}".encode() + b"\0"
    assert len(code) <= 440, "this is where the partition table begins"
    path.write_bytes((code.ljust(510, b"\0") + b"\x55\xaa").ljust(_SIZE, b"\0"))
    return path
