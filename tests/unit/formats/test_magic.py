"""First bytes: what real programs write is told by them, and no other module knows any."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from dibo.formats import magic
from tests.support.requirements import need
from tests.support.tools import modules

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
KNOWN = {
    row.value for row in (*magic.COMPRESSIONS, *magic.DISK_FORMATS, *magic.ARCHIVES, *magic.FILE_SYSTEMS)
} | {magic.GPT, magic.BOOT_SIGNATURE, magic.ELF}
FAMILY_OF_TAR = (
    "dibo/images/layers/tar_header.py",
    "dibo/images/layers/tar_reader.py",
    "dibo/cache/secret_scan.py",
)
"""Readers of tar tell its dialects apart by what follows the magic."""
PULL = PROJECT / "flavours/deploy/pull"


def test_first_bytes_are_in_one_table() -> None:
    trees = {f"dibo/{module.path}": module.tree for module in modules()}
    trees |= {str(path.relative_to(PROJECT)): ast.parse(path.read_text()) for path in PULL.glob("*.py")}
    literals = {
        (name, node.value)
        for name, tree in trees.items()
        if name not in ("dibo/formats/magic.py", *FAMILY_OF_TAR)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
    }
    copies = {
        (name, value)
        for name, value in literals
        if any(value.startswith(known) or value.endswith(known) for known in KNOWN)
    }
    assert not copies, "use dibo/formats/magic.py"


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vhdx", "vpc", "vdi", "qed", "parallels"])
def test_what_qemu_writes(tmp_path: Path, kind: str) -> None:
    need("qemu-img")
    image = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, str(image), "2M"], check=True)
    data = image.read_bytes()
    assert magic.disk_format(data[: magic.HEAD], data[-magic.TAIL :]) == kind


@pytest.mark.parametrize(
    ("program", "kind"),
    [("gzip", "gzip"), ("xz", "xz"), ("bzip2", "bzip2"), ("zstd", "zstd")],
)
def test_what_compressors_write(program: str, kind: str) -> None:
    need(program)
    data = subprocess.run([program, "-c"], input=b"dibo", check=True, capture_output=True).stdout
    assert magic.compression(data) == kind


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (["mke2fs", "-q", "-F", "-t", "ext4"], "ext"),
        (["mkfs.xfs", "-q"], "xfs"),
        (["mkfs.btrfs", "-q"], "btrfs"),
        (["mkswap"], "swap"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_makers_of_file_systems_write(tmp_path: Path, argv: list[str], kind: str) -> None:
    need(argv[0])
    path = tmp_path / "volume"
    with path.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run([*argv, str(path)], check=True, capture_output=True)
    with path.open("rb") as file:
        head = file.read(magic.HEAD)
    assert magic.file_system(head) == kind
    assert not magic.disk_format(head) and not magic.compression(head) and not magic.archive(head)
