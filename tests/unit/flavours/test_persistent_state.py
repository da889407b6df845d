"""What the flavour persistent-state runs early at boot, on made trees, by each shell that /bin/sh may be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.requirements import need

pytestmark = pytest.mark.slow

FILES = resources.shared("flavours") / "persistent-state" / "files"
SCRIPT = FILES / "persistent-state"
MACHINE_ID = "0123456789abcdef0123456789abcdef\n"
OTHER_ID = "fedcba9876543210fedcba9876543210\n"
KEYS = {f"etc/ssh/ssh_host_{kind}_key{end}" for kind in ("rsa", "ecdsa", "ed25519") for end in ("", ".pub")}


@pytest.fixture(params=[shell for shell in ("dash", "bash") if shutil.which(shell)])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Host:
    """A root of a machine, and the state beside it, which lies at /mnt/state there."""

    def __init__(self, directory: Path, shell: str) -> None:
        self.root = directory / "root"
        self.state = self.root / "mnt" / "state"
        self.said = ""
        self._shell = shell
        self._programs = directory / "programs"
        self._programs.mkdir()
        systemctl = self._programs / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$@" >> {directory}/systemctl\n')
        systemctl.chmod(0o755)
        self.systemctl = directory / "systemctl"
        self.new_root()

    def new_root(self) -> None:
        """Another root, and the same state: a deployment."""
        kept = self.root.with_name("kept")
        if self.state.exists():
            self.state.rename(kept)
            shutil.rmtree(self.root)
        else:
            kept.mkdir()
        self.state.parent.mkdir(parents=True)
        kept.rename(self.state)
        conf = self.root / "etc/dibo/persistent-state.d/persistent-state.conf"
        conf.parent.mkdir(parents=True)
        shutil.copy(FILES / "persistent-state.conf", conf)
        self.write("etc/machine-id", "")
        (self.root / "etc/ssh").mkdir()

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def keep(self, *lines: str) -> None:
        self.write("etc/dibo/persistent-state.d/web.conf", "".join(f"{line}\n" for line in lines))

    def run(self, *words: str | Path) -> int:
        environment = {
            "PATH": f"{self._programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "DIBO_ROOT": str(self.root),
        }
        done = subprocess.run([self._shell, SCRIPT, *words], capture_output=True, text=True, env=environment)
        self.said = done.stdout + done.stderr
        return done.returncode

    def boot(self) -> None:
        assert self.run("prepare") == 0, self.said

    def sshd(self) -> None:
        self.write("usr/sbin/sshd", "").chmod(0o755)

    def keys(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes() for path in (self.root / "etc/ssh").iterdir()
        }


@pytest.fixture
def host(tmp_path: Path, shell: str) -> Host:
    return Host(tmp_path, shell)


def test_the_machine_keeps_its_id(host: Host) -> None:
    host.write("etc/machine-id", MACHINE_ID)  # as systemd made it, before anything was mounted
    host.boot()
    assert (host.state / "etc/machine-id").read_text() == MACHINE_ID
    assert not host.systemctl.exists()
    host.new_root()
    host.write("etc/machine-id", OTHER_ID)
    host.boot()
    assert (host.root / "etc/machine-id").read_text() == MACHINE_ID
    assert host.systemctl.read_text() == "restart systemd-journald.service\n"
    host.boot()
    assert (host.root / "etc/machine-id").read_text() == MACHINE_ID
    assert host.systemctl.read_text() == "restart systemd-journald.service\n"


def test_an_empty_file_is_not_kept(host: Host) -> None:
    host.boot()
    assert not (host.state / "etc/machine-id").exists()


def test_host_keys_are_made_once(host: Host) -> None:
    need("ssh-keygen")
    host.sshd()
    host.boot()
    made = host.keys()
    assert made.keys() == KEYS
    for path in KEYS:
        assert (host.state / path).read_bytes() == made[path]
        mode = 0o644 if path.endswith(".pub") else 0o600
        assert (host.state / path).stat().st_mode & 0o777 == mode
        assert (host.root / path).stat().st_mode & 0o777 == mode
    host.new_root()
    host.sshd()
    host.boot()
    assert host.keys() == made


def test_what_is_changed_on_the_machine_is_kept(host: Host) -> None:
    """By whoever runs it, or by its metadata after the state was put in place; also when it is only stopped."""
    need("ssh-keygen")
    host.sshd()
    host.boot()
    changed = host.write("etc/ssh/ssh_host_rsa_key", "another\n")
    (host.root / "etc/ssh/ssh_host_ecdsa_key").unlink()
    assert host.run("save") == 0
    host.boot()
    assert changed.read_text() == "another\n"
    assert not (host.root / "etc/ssh/ssh_host_ecdsa_key").exists()
    host.new_root()
    host.boot()
    assert changed.read_text() == "another\n"


def test_keys_that_were_all_removed_come_back(host: Host) -> None:
    need("ssh-keygen")
    host.sshd()
    host.boot()
    made = host.keys()
    for path in made:
        (host.root / path).unlink()
    host.boot()
    assert host.keys() == made


def test_keys_of_a_time_without_the_state_do_not_replace_those_that_are_kept(host: Host) -> None:
    """The first boot of a root did not find the partition, so others were made; the next one does."""
    kept = host.state / "etc/ssh/ssh_host_rsa_key"
    kept.parent.mkdir(parents=True)
    kept.write_text("kept\n")
    host.write("etc/ssh/ssh_host_rsa_key", "in between\n")
    host.boot()
    assert kept.read_text() == (host.root / "etc/ssh/ssh_host_rsa_key").read_text() == "kept\n"


def test_a_directory_begins_with_what_the_image_has_there(host: Host) -> None:
    host.keep("# a comment", "", "/var/lib/web", "/srv/data/")
    host.write("var/lib/web/sub/page", "of the image")
    (host.root / "var/lib/web").chmod(0o2750)
    (host.root / "var/lib/web/link").symlink_to("sub")
    host.boot()
    kept = host.state / "var/lib/web"
    assert (kept / "sub/page").read_text() == "of the image" and (kept / "link").is_symlink()
    assert kept.stat().st_mode & 0o7777 == 0o2750
    assert (host.state / "srv/data").is_dir() and (host.root / "srv/data").is_dir()
    (kept / "sub/page").write_text("of the machine")
    host.boot()
    assert (kept / "sub/page").read_text() == "of the machine"
    host.new_root()
    host.keep("/var/lib/web")
    host.write("var/lib/web/sub/page", "of the next image")
    host.boot()
    assert (kept / "sub/page").read_text() == "of the machine"


def test_a_copy_that_was_broken_off_begins_again(host: Host) -> None:
    host.keep("/var/lib/web")
    host.write("var/lib/web/page", "whole")
    host.write("mnt/state/var/lib/web.dibo-new/page", "wh")
    host.write("mnt/state/var/lib/web.dibo-new/other", "")
    host.boot()
    assert [path.name for path in (host.state / "var/lib").iterdir()] == ["web"]
    assert [path.name for path in (host.state / "var/lib/web").iterdir()] == ["page"]


@pytest.mark.skipif(os.geteuid() != 0, reason="files of others are root's to make")
def test_a_service_whose_number_differs_in_the_next_image(host: Host) -> None:
    host.keep("/var/lib/web")
    page = host.write("var/lib/web/page", "")
    for path in (page, page.parent):
        os.chown(path, 103, 104)
    root_page = host.write("var/lib/web/of-root", "")
    host.boot()
    host.new_root()
    host.keep("/var/lib/web")
    (host.root / "var/lib/web").mkdir(parents=True)
    os.chown(host.root / "var/lib/web", 203, 104)
    host.boot()
    kept = host.state / "var/lib/web"
    assert [(path.stat().st_uid, path.stat().st_gid) for path in (kept, kept / "page")] == [(203, 104)] * 2
    assert (kept / root_page.name).stat().st_uid == 0
    os.chown(kept, 303, 104)  # on the running machine: nobody's business
    host.boot()
    assert kept.stat().st_uid == 303


@pytest.mark.parametrize(
    "line",
    [
        "/",
        "/var",
        "/etc",
        "/var/lib/../x",
        "/proc/x",
        "/mnt/state/x",
        "/mnt",
        "relative",
        "file",
        "file x",
        "/a  b",
        "file /a b",
    ],
)
def test_lines_that_make_no_sense(host: Host, line: str) -> None:
    """They are told, and keep nobody from the rest."""
    host.keep(line, "/srv/data")
    assert host.run("prepare") == 1
    assert f"not understood: {host.root}/etc/dibo/persistent-state.d/web.conf: {line}" in host.said
    assert (host.state / "srv/data").is_dir()
    assert sorted(path.name for path in host.state.iterdir()) == ["srv"]


def test_a_path_that_is_no_directory(host: Host) -> None:
    host.keep("/var/lib/web", "/var/lib/link")
    host.write("var/lib/web", "")
    (host.root / "var/lib/link").symlink_to("/etc")
    assert host.run("prepare") == 1
    assert "/var/lib/web is no directory" in host.said and "/var/lib/link is no directory" in host.said
    assert not (host.state / "var").exists()


def units(host: Host, directory: Path) -> Sequence[str]:
    assert host.run("units", directory) == 0, host.said
    return sorted(path.name for path in directory.iterdir() if path.is_file())


def test_a_mount_for_each_directory(host: Host, tmp_path: Path) -> None:
    need("systemd-escape")
    host.keep("/var/lib/web-app", "nonsense", "/srv")
    directory = tmp_path / "units"
    assert units(host, directory) == ["srv.mount", r"var-lib-web\x2dapp.mount"]
    text = (directory / r"var-lib-web\x2dapp.mount").read_text()
    assert "\nWhat=/mnt/state/var/lib/web-app\nWhere=/var/lib/web-app\n" in text
    assert "\nAfter=dibo-persistent-state.service\n" in text
    wanted = directory / "local-fs.target.wants"
    assert {path.name for path in wanted.iterdir()} == {"srv.mount", r"var-lib-web\x2dapp.mount"}
    assert all(path.resolve().is_file() for path in wanted.iterdir())


def test_units_are_sound(host: Host, tmp_path: Path) -> None:
    need("systemd-analyze", "systemd-escape")
    host.keep("/var/lib/web-app")
    directory = tmp_path / "units"
    units(host, directory)
    for path in (*FILES.glob("*.service"), *FILES.glob("*.mount")):
        text = path.read_text().replace("/usr/lib/dibo/persistent-state ", "/bin/true ")
        (directory / path.name).write_text(text)
    names = [path for path in directory.iterdir() if path.is_file()]
    assert len(names) == 4
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "dibo" in line or str(directory) in line]
    assert said == []


def test_a_file_system_where_there_is_none(host: Host, tmp_path: Path) -> None:
    need("mke2fs", "blkid")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    assert host.run("format", disk) == 0, host.said
    said = subprocess.run(["blkid", "-p", "-o", "export", disk], capture_output=True, text=True).stdout
    assert "TYPE=ext4" in said and "LABEL=state" in said
    made = disk.read_bytes()
    assert host.run("format", disk) == 0
    assert disk.read_bytes() == made


def test_what_holds_something_is_never_formatted(host: Host, tmp_path: Path) -> None:
    need("mke2fs", "blkid")
    disk = tmp_path / "disk"
    disk.write_bytes(b"LUKS\xba\xbe\x00\x01".ljust(16 << 20, b"\0"))
    before = disk.read_bytes()
    host.run("format", disk)
    assert disk.read_bytes() == before
    disk.write_bytes(bytes(16 << 20))
    assert host.run("format", disk) == 0
    with disk.open("r+b") as file:
        file.seek(1024)
        file.write(bytes(1024))  # the superblock is lost, and there are others
    before = disk.read_bytes()
    assert host.run("format", disk) == 1
    assert "is left alone" in host.said and disk.read_bytes() == before
    assert host.run("format", tmp_path / "none") == 1
    assert "is left alone" in host.said and not (tmp_path / "none").exists()
