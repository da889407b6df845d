"""Disks that hooks of block-device.d lay out, on a plain file: real hooks, real sfdisk."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from dibo.build.engine import Setup
from dibo.build.host_hooks import HostRun
from dibo.disk.device_hooks import HookedDisk, hooked_disk
from dibo.disk.request import DiskRequest
from dibo.errors import DiboError, HookFailed, LayoutError
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.units import MIB
from tests.support.flavours import read_stack, write_flavour
from tests.support.requirements import need

pytestmark = pytest.mark.slow

SIZE = 64 * MIB
SH = "#!/bin/sh\nset -e\n"
SFDISK = "printf '%b' '{lines}' | sfdisk -q \"$IMAGE_BLOCK_DEVICE\" >&2\n"
PRINT = 'echo "IMAGE_BLOCK_DEVICE=${IMAGE_BLOCK_DEVICE}p1"\n'
CLASSIC = SFDISK.format(lines="2048,,L,*\\n") + PRINT


def hooked(directory: Path, *texts: str) -> HookedDisk | None:
    need("sfdisk")
    (directory / "flavours").mkdir(parents=True, exist_ok=True)
    names = []
    for number, text in enumerate(texts):
        names.append(f"f{number}")
        write_flavour(directory / "flavours", names[-1], {f"block-device.d/{10 + number}-hook": SH + text})
    with (
        Workspace(directory / "cache").run() as run,
        hooked_disk(
            read_stack(directory / "flavours", *names),
            DiskRequest(
                output=directory / "out",
                converters=(),
                layout=None,
                filesystem="ext4",
                size=SIZE,
                size_set_by="",
                architecture="amd64",
                options={},
            ),
            Setup(run=run, report=Report(io.StringIO())),
            loop=False,
            host=HostRun(environment={}, on_output=lambda _: None, policy="run"),
        ) as made,
    ):
        if made is not None:
            assert made.file.stat().st_size == SIZE
        return made


def refused(directory: Path, kind: type[DiboError], *texts: str) -> DiboError:
    with pytest.raises(kind) as caught:
        hooked(directory, *texts)
    assert "f0" in caught.value.message
    assert "10-hook" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "text", ["", 'test -s "$IMAGE_BLOCK_DEVICE"', 'echo "IMAGE_BLOCK_DEVICE=$IMAGE_BLOCK_DEVICE"']
)
def test_hooks_that_leave_the_disk_alone(tmp_path: Path, text: str) -> None:
    assert hooked(tmp_path, text) is None
    assert hooked(tmp_path / "none") is None


def test_the_classic_hook(tmp_path: Path) -> None:
    made = hooked(tmp_path, CLASSIC)
    assert made is not None
    found = made.disk
    assert (found.root.number, found.root.offset, found.root.size) == (1, MIB, SIZE - MIB)
    assert found.is_to_boot
    assert found.core is not None
    assert (found.core.offset, found.core.size) == (512, 2039 * 512)  # up to the text on /boot
    assert found.esp is None


def test_partitions_of_a_gpt_are_known_by_their_types(tmp_path: Path) -> None:
    lines = "label: gpt\\nsize=1MiB,type=21686148-6449-6E6F-744E-656564454649\\nsize=8MiB,type=U\\ntype=L\\n"
    made = hooked(tmp_path, SFDISK.format(lines=lines) + PRINT.replace("p1", "p3"))
    assert made is not None
    found = made.disk
    assert (found.root.number, found.root.offset) == (3, 10 * MIB)
    assert found.core is not None
    assert (found.core.number, found.core.offset, found.core.size) == (1, MIB, MIB)
    assert found.esp is not None
    assert (found.esp.number, found.esp.offset, found.esp.size) == (2, 2 * MIB, 8 * MIB)


def test_an_efi_system_partition_that_a_hook_filled_is_its_own(tmp_path: Path) -> None:
    lines = "size=8MiB,type=ef\\ntype=83\\n"
    fill = 'printf x | dd of="$IMAGE_BLOCK_DEVICE" bs=1M seek=5 conv=notrunc 2>&1\n'
    made = hooked(tmp_path, SFDISK.format(lines=lines) + fill + PRINT.replace("p1", "p2"))
    assert made is not None
    assert made.disk.esp is None
    assert made.disk.is_to_boot


def test_a_logical_partition(tmp_path: Path) -> None:
    lines = "size=4MiB,type=83\\ntype=5\\nsize=20MiB,type=83\\n"
    made = hooked(tmp_path, SFDISK.format(lines=lines) + PRINT.replace("p1", "p5"))
    assert made is not None
    assert (made.disk.root.number, made.disk.root.size) == (5, 20 * MIB)


def test_the_last_hook_that_says_something_counts(tmp_path: Path) -> None:
    lines = "size=4MiB,type=83\\ntype=83\\n"
    made = hooked(
        tmp_path, SFDISK.format(lines=lines) + PRINT, PRINT.replace("p1", "p2"), "echo nothing of interest\n"
    )
    assert made is not None
    assert made.disk.root.number == 2
    assert made.hook.parent.parent.name == "f1"


def test_partitions_and_no_word_of_the_root(tmp_path: Path) -> None:
    error = refused(tmp_path, LayoutError, SFDISK.format(lines="2048,,L,*\\n"))
    assert "does not say which of them the root file system goes to" in error.message
    assert 'echo "IMAGE_BLOCK_DEVICE=${IMAGE_BLOCK_DEVICE}p1"' in error.hint


def test_a_partition_that_is_not_there(tmp_path: Path) -> None:
    error = refused(tmp_path, LayoutError, CLASSIC.replace("p1", "p2"))
    assert "there is no partition 2 on the disk; there are: 1" in error.message
    error = refused(tmp_path / "empty", HookFailed, PRINT)
    assert "there is no partition table on the disk" in error.message


@pytest.mark.parametrize("answer", ["/dev/sda1", "/etc/passwd", "p1", "${IMAGE_BLOCK_DEVICE}x", ""])
def test_an_answer_that_is_not_on_the_disk(tmp_path: Path, answer: str) -> None:
    error = refused(tmp_path, HookFailed, CLASSIC + f'echo "IMAGE_BLOCK_DEVICE={answer}"\n')
    assert "neither the disk it was given nor a partition of it" in error.message
    assert "with --loop" in error.hint


def test_something_that_is_no_table(tmp_path: Path) -> None:
    error = refused(
        tmp_path, LayoutError, 'echo label > "$IMAGE_BLOCK_DEVICE"; truncate -s 64M "$IMAGE_BLOCK_DEVICE"'
    )
    assert "no partition table dibo can read" in error.message


def test_a_table_that_is_damaged(tmp_path: Path) -> None:
    lines = "label: gpt\\ntype=L\\n"
    spoil = 'for at in 1 131071; do printf x | dd of="$IMAGE_BLOCK_DEVICE" bs=512 seek=$at conv=notrunc 2>&1; done\n'
    with pytest.raises(LayoutError, match="the partition table is damaged"):
        hooked(tmp_path, SFDISK.format(lines=lines) + spoil + PRINT)


def records(*places: tuple[int, int]) -> str:
    """A hook that writes an MBR of its own, which sfdisk would not: first sectors and numbers of sectors."""
    packed = b"".join(struct.pack("<B3xB3xII", 0x80, 0x83, *place) for place in places).ljust(64, b"\0")
    octal = "".join(f"\\{byte:03o}" for byte in packed + b"\x55\xaa")
    return f"printf '{octal}' | dd of=\"$IMAGE_BLOCK_DEVICE\" bs=1 seek=446 conv=notrunc 2>&1\n" + PRINT


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (((2048, 8192), (4096, 8192)), "partitions 1 and 2 overlap"),
        (((2048, 1 << 30),), "partition 1 covers bytes 1048576 to"),
        (((2048, 2047),), "which is no room for a root file system"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, places: tuple[tuple[int, int], ...], said: str) -> None:
    assert said in refused(tmp_path, LayoutError, records(*places)).message


def test_a_hook_that_fails(tmp_path: Path) -> None:
    with pytest.raises(
        HookFailed, match=r"10-hook of flavour 'f0' in block-device\.d ended with exit code 3"
    ):
        hooked(tmp_path, CLASSIC + "exit 3\n")
