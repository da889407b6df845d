"""What flavours write for ramdisks, and what is refused, with its place."""

from __future__ import annotations

import pytest

from dibo.errors import FlavourError
from dibo.flavours.ramdisk_requests import is_ramdisk_file, parse_wishes


def test_words_with_comments() -> None:
    found = parse_wishes(
        "web",
        {"binary-deps": b"# tools\nlshw  tgtd # iSCSI\n\nlshw\n/usr/share/misc/pci.ids\n[\n"},
        origin="/f/web",
    )
    assert [(word.text, word.line) for word in found.programs] == [
        ("lshw", 2),
        ("tgtd", 2),
        ("/usr/share/misc/pci.ids", 5),
        ("[", 6),
    ]
    assert found.programs[1].origin == "binary-deps:2 of the flavour 'web'"
    assert found.init is None


def test_modules_by_name_alias_and_directory() -> None:
    text = b"virtio_net ?mlx5-core dir:drivers/net/ethernet/intel\npci:v00008086d0000100Esv*sd*bc*sc*i*\n"
    found = parse_wishes("web", {"modules": text}, origin="/f/web")
    assert [word.text for word in found.modules] == text.decode().split()


@pytest.mark.parametrize(
    ("file", "text", "where"),
    [
        ("binary-deps", b"ok\n$(reboot)\n", "/f/web/binary-deps:2: '\\$\\(reboot\\)' cannot"),
        ("binary-deps", b"-x\n", "binary-deps:1"),
        ("binary-deps", b"bin/x\n", "binary-deps:1"),
        ("binary-deps", b"/\n", "binary-deps:1"),
        ("modules", b"dir:/net\n", "modules:1"),
        ("modules", b"??x\n", "modules:1"),
        ("modules", b"\xff\n", "modules is not UTF-8: invalid start byte at byte 0"),
        ("init", b"echo\r\n", "init is no shell script with Unix line ends"),
        ("udev/x.conf", b"", "udev/x.conf is not a file of udev rules"),
        ("udev/a/x.rules", b"", "udev/a/x.rules is not a file of udev rules"),
    ],
)
def test_what_cannot_be(file: str, text: bytes, where: str) -> None:
    with pytest.raises(FlavourError, match=where):
        parse_wishes("web", {file: text}, origin="/f/web")


def test_files_of_a_ramdisk() -> None:
    files = (
        "init",
        "binary-deps",
        "modules",
        "udev/50-x.rules",
        "files/init",
        "install.d/init",
        "udev",
        "init.d/x",
    )
    assert [file for file in files if is_ramdisk_file(file)] == [
        "init",
        "binary-deps",
        "modules",
        "udev/50-x.rules",
    ]
