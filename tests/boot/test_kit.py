"""An image without a kernel boots with a kit, straight into its program: converted without an engine or privileges."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from dibo.formats.partitions import gpt
from dibo.machines.seed import make_key
from dibo.system import process
from dibo.units import MIB
from tests.boot.conftest import BUILD_SECONDS
from tests.support import user
from tests.support.images.application_images import PORT, RUN, application
from tests.support.images.oci_layouts import LayerTar, Tar, simple
from tests.support.machines.cloud_init_seed import Seed, write_fat
from tests.support.machines.qemu import TOOLS, Firmware, Machine
from tests.support.requirements import need, unmet
from tests.support.servers.metadata_server import MetadataServer

pytestmark = [pytest.mark.boot, pytest.mark.long]


@pytest.fixture(scope="module")
def kit() -> Iterator[Path]:
    """The layout of a kit on Debian, built by an ordinary user. DIBO_BOOT_KIT names one that is there already."""
    need(*TOOLS, "busybox")
    if given := os.environ.get("DIBO_BOOT_KIT"):
        yield Path(given)
        return
    need("buildah", "newuidmap", "mmdebstrap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    directory.chmod(0o755)
    try:
        try:
            user.run_as(
                builder,
                "dibo",
                ["build", "--kit", "cloud", "-o", str(directory / "kit")],
                timeout=BUILD_SECONDS,
            )
        except CommandFailed as error:
            pytest.fail("\n".join(error.tail), pytrace=False)
        yield directory / "kit"
    finally:
        shutil.rmtree(directory)


def converted(image: Path, kit: Path, tmp_path: Path, name: str = "disk") -> Path:
    """A raw disk, with no program on PATH."""
    argv = [user.program("dibo"), "convert", f"oci:{image}", "--kit", f"oci:{kit}", "-t", "raw"]
    argv += ["-o", str(tmp_path / name), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"PATH": "/nonexistent"}, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / f"{name}.raw"


WATCHED = {
    **RUN,
    "Healthcheck": {"Test": ["CMD-SHELL", "test ! -e /data/ill"], "Interval": 1_000_000_000, "Retries": 2},
}


def nocloud(directory: Path) -> Seed:
    key = make_key(directory)
    public = key.with_suffix(".pub").read_text()
    image = directory / "seed.img"
    meta_data = f"instance-id: i-1\nlocal-hostname: web-1\npublic-keys:\n  - {public}"
    write_fat(image, {"meta-data": meta_data, "user-data": "# variables\nTOLD=by the seed's $(reboot)\n"})
    return Seed(image=image, key=key, user="root")


def state_of(disk: Path) -> slice:
    with disk.open("rb") as file:
        part = next(part for part in gpt.decode(file).entries if part.name == "persistent-state")
    return slice(part.offset, part.offset + part.size)


def test_an_application(kit: Path, tmp_path: Path) -> None:
    """By the disk's own boot loader, first by the BIOS, then as another image on the same state, with Secure Boot: its
    words, user, directory, variables, volume and health check; name, keys and variables of NoCloud and of EC2; SSH, an
    IPv6 address, a root that fills the disk. The power button stops it by its own signal, and then the machine."""
    seed = nocloud(tmp_path)
    disk = converted(application(tmp_path / "image", run=WATCHED), kit, tmp_path)
    with Machine(disk, directory=tmp_path, seed=seed, grow_to="5G", name="first") as machine:
        machine.wait_for_console("app: it's $(reboot) `two words` as 1234:1234 in /srv/new/place")
        machine.wait_for_console("GREETING=a 'quoted' \"word\"; reboot\n")
        machine.wait_for_console("app: TOLD=by the seed's $(reboot)\n")
        machine.wait_for_console("app: odd.name=1\n")
        machine.wait_for_console("app: started 0 times before\n")
        answers = machine.ask(QUESTIONS)
        assert answers["page"] == "hello from web-1\n"
        assert "fec0:" in answers["addresses"]
        assert int(answers["root"]) > 3500  # MiB, of 5 GiB with 1 GiB of state
        assert answers["user"] == "root\n"
        machine.ssh("touch /data/ill")
        machine.wait_for_console("the application is not healthy: 2 checks in a row failed")
        machine.wait_for_console("app: started 1 times before\n")
        machine.press_power_button()
        machine.wait_for_console("app: told to stop\n")
        machine.wait_until_off()
        grown = tmp_path / "grown.raw"
        process.run(["qemu-img", "convert", "-O", "raw", str(machine.overlay), str(grown)])
    deploy_again(grown, kit, tmp_path, host_key=answers["host key"], seed=seed)


QUESTIONS = {
    "page": f"wget -q -O - http://127.0.0.1:{PORT}/",
    "addresses": "ip -6 address",
    "root": "df -m / | tail -n 1 | awk '{ print $2 }'",
    "user": "whoami",
    "host key": "sha256sum /run/dibo/state/var/lib/dibo/ssh/host_key",
}


def deploy_again(old: Path, kit: Path, tmp_path: Path, *, host_key: str, seed: Seed) -> None:
    """The next image on a disk that keeps the partition of the state, in another cloud."""
    disk = converted(application(tmp_path / "next", uid=4321), kit, tmp_path, "next-disk")
    kept, place = state_of(old), state_of(disk)
    assert kept.stop - kept.start == place.stop - place.start
    with old.open("rb") as source, disk.open("r+b") as file:
        source.seek(kept.start)
        file.seek(place.start)
        for _ in range(kept.start, kept.stop, MIB):
            file.write(source.read(MIB))
    files = {
        "meta-data/local-hostname": "web-2.internal",
        "meta-data/public-keys/": "0=mine",
        "meta-data/public-keys/0/openssh-key": seed.key.with_suffix(".pub").read_text(),
        "user-data": "TOLD=by EC2\n",
    }
    no_disk = Seed(image=tmp_path / "none.img", key=seed.key, user="root")
    write_fat(no_disk.image, {}, label="OTHER")
    with (
        MetadataServer(files) as server,
        Machine(
            disk,
            directory=tmp_path,
            firmware=Firmware.SECURE_BOOT,
            seed=no_disk,
            network=server.network,
            extra=("-smbios", "type=1,manufacturer=Amazon EC2"),
            name="second",
        ) as machine,
    ):
        machine.wait_for_console("as 4321:4321 in /srv/new/place")
        machine.wait_for_console("app: TOLD=by EC2\n")
        machine.wait_for_console("app: started 2 times before\n")
        answers = machine.ask({**QUESTIONS, "owner": "stat -c %u:%g /data/count", "secure": "dmesg"})
        assert answers["page"] == "hello from web-2.internal\n"
        assert answers["owner"] == "4321:4321\n"
        assert answers["host key"] == host_key
        assert "Secure boot enabled" in answers["secure"]
        assert "/latest/meta-data/public-keys/0/openssh-key" in server.asked
        machine.ssh("poweroff", check=False)
        machine.wait_for_console("app: told to stop\n")
        machine.wait_until_off()


UNIT = """\
[Unit]
Description=Tell the test that systemd is up
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'touch /written && echo "up: $(cat /proc/1/comm) on $(uname -r)" >/dev/console'
ExecStart=/usr/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
"""


def test_an_init_of_its_own(kit: Path, tmp_path: Path) -> None:
    """Debian with systemd and no kernel: the kit brings that, and systemd is process 1 on a root that it can write."""
    need("mmdebstrap", "newuidmap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    try:
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd-sysv", "bookworm"]
        done = subprocess.run(
            user.as_user(builder, [*argv, str(directory / "root.tar")]),
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            cwd="/",
        )
        if done.returncode:
            unmet(f"Debian's packages cannot be had: {done.stderr[-200:]}")
        more = Tar(tmp_path / "more.tar")
        more.add("etc/systemd/system/told.service", UNIT.encode())
        more.symlink("etc/systemd/system/multi-user.target.wants/told.service", "../told.service")
        layers = [LayerTar(tar=directory / "root.tar", compression="none"), LayerTar(tar=more.close())]
        image = simple(tmp_path / "system", layers)
        disk = converted(image, kit, tmp_path)
    finally:
        shutil.rmtree(directory)
    with Machine(disk, directory=tmp_path, firmware=Firmware.UEFI) as machine:
        machine.wait_for_console("up: systemd on ")
        machine.wait_until_off()
