"""What is copied into a machine that runs, and what takes a boot; by disks that dibo wrote."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from dibo.machines.live_update import LiveUpdate, plan_update, update_command
from dibo.system import process
from tests.support.disks.boot_disks import Bytes, ext4

FILES: Mapping[str, bytes | str] = {
    "etc/motd": b"hello\n",
    "etc/mode": b"x",
    "etc/link": "motd",
    "etc/fstab": b"",
    "etc/passwd": b"root\n",
    "etc/old/below": b"x",
    "boot/grub/grub.cfg": b"menu",
    "var/lib/dpkg/status": b"",
}


def disk(**changes: bytes | str | None) -> Bytes:
    """`etc_motd=…` for etc/motd; None leaves a file out."""
    files = {**FILES, **{name.replace("__", "/"): content for name, content in changes.items()}}
    return Bytes(ext4({name: content for name, content in files.items() if content is not None}))


def names(update: LiveUpdate) -> dict[str, bytes | str]:
    """The tar: a file's content, a link's target, nothing of a directory."""
    with tarfile.open(fileobj=io.BytesIO(update.archive)) as archive:
        return {
            member.name: member.linkname if member.issym() else _content(archive, member)
            for member in archive
        }


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def test_files_links_and_directories() -> None:
    update = plan_update(
        disk(),
        disk(etc__motd=b"changed\n", etc__link="mode", srv__new__file=b"new", etc__old__below=None),
    )
    assert not update.obstacle
    entries = names(update)
    assert entries["etc/motd"] == b"changed\n"
    assert entries["etc/link"] == "mode"
    assert (entries["srv"], entries["srv/new"], entries["srv/new/file"]) == (b"", b"", b"new")
    assert update.gone == ("etc/old", "etc/old/below")
    with tarfile.open(fileobj=io.BytesIO(update.archive)) as archive:
        member = archive.getmember("etc/motd")
        assert (member.uid, member.gid, stat.S_IMODE(member.mode)) == (0, 0, 0o644)


def test_the_same_files() -> None:
    assert plan_update(disk(), disk()).is_empty


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"var__lib__dpkg__status": b"Package: x\n"}, "packages changed (/var/lib/dpkg/status)"),
        ({"boot__grub__grub.cfg": b"other"}, "what the machine boots with changed"),
        ({"etc__fstab": b"/dev/vdb /srv ext4\n"}, "what the machine boots with changed"),
        ({"etc__passwd": b"root\nweb\n"}, "users, names or keys changed"),
        ({"etc__first-boot.d__10-x": b"#!/bin/sh\n"}, "what runs at the first boot changed"),
        ({"etc__mode": "motd"}, "/etc/mode is another kind of file"),
    ],
)
def test_what_takes_a_boot(change: dict[str, bytes | str], reason: str) -> None:
    update = plan_update(disk(), disk(etc__motd=b"also\n", **change))
    assert reason in update.obstacle
    assert not update.archive


def test_names_of_the_disk_are_no_change() -> None:
    """They are made of what is on it."""
    first, second = "6a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "11111111-2222-4333-8444-555555555555"
    line = "linux /boot/vmlinuz root=UUID={} ro\n"
    update = plan_update(
        disk(**{"boot__grub__grub.cfg": line.format(first).encode()}),
        disk(**{"boot__grub__grub.cfg": line.format(second).encode(), "etc__motd": b"changed\n"}),
    )
    assert (update.obstacle, update.paths) == ("", ("etc/motd",))
    quiet = line.format(second).replace("ro", "ro quiet").encode()
    assert "boots with" in plan_update(disk(), disk(**{"boot__grub__grub.cfg": quiet})).obstacle
    other = f"id: {first}\n".encode(), f"id: {second}\n".encode()
    assert plan_update(disk(etc__id=other[0]), disk(etc__id=other[1])).paths == ("etc/id",)


def test_disks_without_a_file_system() -> None:
    assert plan_update(Bytes(bytes(4096)), Bytes(bytes(4096))).is_empty
    assert "disk changed" in plan_update(Bytes(bytes(4096)), Bytes(b"x" * 4096)).obstacle


def test_the_command_does_it(tmp_path: Path) -> None:
    """By a shell: the paths are those of a directory of this test."""
    target = tmp_path / "a place"
    place = str(target).lstrip("/")
    (target / "old").mkdir(parents=True)
    (target / "motd").write_text("hello\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(f"{place}/motd")
        member.size, member.mode = 8, 0o600
        archive.addfile(member, io.BytesIO(b"changed\n"))
    update = LiveUpdate(archive=packed.getvalue(), paths=(f"{place}/motd",), gone=(f"{place}/old",))
    process.run(["sh", "-c", update_command("root", update)], streams=process.Streams(stdin=update.archive))
    assert (target / "motd").read_text() == "changed\n"
    assert not (target / "old").exists()
    assert update_command("debian", update).startswith("sudo -n sh -c ")
    assert "daemon-reload" in update_command("root", LiveUpdate(paths=("etc/systemd/system/web.service",)))
