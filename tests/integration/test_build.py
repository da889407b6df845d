"""The vm stack, whole, built in the ways that people build it: the disk is sound and holds the same tree each time.

One Debian root is made once and serves as tarball and, from a loopback server with Ubuntu's layout and a key made
here, as Ubuntu's. An ordinary user builds on the latter, root on the former.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo.formats.partitions import gpt
from dibo.system import process
from tests.support import user
from tests.support.gpg_keys import Keys, two_keys
from tests.support.host.host_state import host_state, new_on_host
from tests.support.requirements import need
from tests.support.servers.fake_web_server import FakeWebServer

pytestmark = pytest.mark.integration

RELEASE = "noble"
FILE = f"{RELEASE}-server-cloudimg-amd64-root.tar.gz"
FLAVOURS = Path(__file__).parent / "flavours"
BUILD_SECONDS = 1500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made: the directory, and what it said."""

    directory: Path
    said: str

    @property
    def raw(self) -> Path:
        return self.directory / "web.raw"

    def tree(self) -> dict[str, tuple[object, ...]]:
        """Every entry of web.tar but its times: type, mode, owners, link, size, xattrs."""
        entries: dict[str, tuple[object, ...]] = {}
        with tarfile.open(self.directory / "web.tar") as tar:
            for member in tar:
                attributes = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
                entries[member.name] = (
                    *(member.type, member.mode, member.uid, member.gid, member.linkname),
                    tuple(sorted(attributes)),
                )
        return entries

    def read(self, name: str) -> bytes:
        with tarfile.open(self.directory / "web.tar") as tar:
            content = tar.extractfile(name)
            assert content is not None, name
            return content.read()


@pytest.fixture(scope="module")
def builder() -> pwd.struct_passwd:
    return user.need_ordinary_user()


@pytest.fixture(scope="module")
def place(builder: pwd.struct_passwd) -> Iterator[Path]:
    directory = user.directory_of(builder)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def root_tar(builder: pwd.struct_passwd, place: Path) -> Path:
    """A Debian root as `--base debian` has it, exported from the layer that such a build begins with."""
    need("buildah", "newuidmap", "mmdebstrap", "mke2fs", "qemu-img", "gzip")
    options = ["--base", "debian", "--cache-dir", str(place / "cache")]
    user.run_as(builder, "dibo", ["build", *options, "--no-base", "devstack-user"], timeout=BUILD_SECONDS)
    plan = json.loads(
        user.run_as(
            builder, "dibo", ["plan", "--json", *options, "--no-base", "devstack-user"], timeout=BUILD_SECONDS
        )
    )
    key = plan["layers"][0]["key"]
    tar = place / "root.tar"
    storage = {"STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}
    script = (
        'c=$(buildah from --pull-never "localhost/dibo/layer:k-$1") && m=$(buildah mount $c) && '
        'tar -C "$m" --numeric-owner --xattrs --xattrs-include="*" -cf "$2" . && buildah rm $c > /dev/null'
    )
    enter = ["buildah", "unshare"] if builder.pw_uid else []
    argv = user.as_user(builder, [*enter, "sh", "-c", script, "sh", key, str(tar)], environment=storage)
    process.run(argv, options=process.ProcessOptions(timeout=BUILD_SECONDS, cwd=place))
    return tar


@pytest.fixture(scope="module")
def ubuntu(root_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeWebServer, Keys]]:
    """A server like cloud-images.ubuntu.com with that root as a release's."""
    need("gpg", "gpgv")
    packed = tmp_path_factory.mktemp("site") / FILE
    with packed.open("wb") as stream:
        process.run(
            ["gzip", "-1", "-c", str(root_tar)],
            streams=process.Streams(stdout=stream),
            options=process.ProcessOptions(timeout=BUILD_SECONDS),
        )
    body = packed.read_bytes()
    listed = f"{hashlib.sha256(body).hexdigest()} *{FILE}\n".encode()
    with two_keys() as keys, FakeWebServer() as web:
        where = f"/{RELEASE}/current"
        web.site.files |= {
            f"{where}/{FILE}": body,
            f"{where}/SHA256SUMS": listed,
            f"{where}/SHA256SUMS.gpg": keys.pinned.sign(listed),
        }
        yield web, keys


def _options(place: Path, output: Path) -> list[str]:
    return [
        "-o",
        str(output / "web"),
        "-t",
        "raw,qcow2,tar",
        "--cache-dir",
        str(place),
        "--flavours-path",
        str(FLAVOURS),
    ]


STACK = ("vm", "probe")


@pytest.fixture(scope="module")
def by_user(builder: pwd.struct_passwd, place: Path, ubuntu: tuple[FakeWebServer, Keys]) -> Built:
    """Built by an ordinary user on Ubuntu's root, as it comes from the server."""
    web, keys = ubuntu
    shutil.copy(keys.keyring, place / "ubuntu.gpg")
    (place / "ubuntu.gpg").chmod(0o644)
    output = place / "user"
    output.mkdir()
    shutil.chown(output, builder.pw_uid, builder.pw_gid)
    variables = {
        "CLOUD_IMAGES": web.url,
        "RELEASE": RELEASE,
        "DIBO_UBUNTU_KEYRING": str(place / "ubuntu.gpg"),
        "DIBO_UBUNTU_FINGERPRINT": keys.pinned.fingerprint,
        "DIBO_KERNEL": "cloud",
        "http_proxy": "",
        "XDG_CONFIG_HOME": str(
            place / "config"
        ),  # all that the build starts has it, so host_state() knows them
    }
    before = host_state(place)
    said = user.run_as(
        builder,
        "disk-image-create",
        [*_options(place / "cache", output), *STACK],
        timeout=BUILD_SECONDS,
        environment=variables,
    )
    assert new_on_host(place, before) == []
    return Built(directory=output, said=said)


def test_the_disk_is_sound(by_user: Built) -> None:
    need("e2fsck", "qemu-img", "sfdisk")
    with by_user.raw.open("rb") as stream:
        table = gpt.decode(stream)
    assert [entry.name for entry in table.entries] == ["bios", "esp", "root"]
    offset = table.entries[2].first_lba * 512
    done = process.run(["e2fsck", "-fn", f"{by_user.raw}?offset={offset}"], capture=True, check=False)
    assert done.returncode == 0, done.stdout
    assert process.run(["sfdisk", "--verify", str(by_user.raw)], check=False).returncode == 0
    process.run(["qemu-img", "compare", str(by_user.raw), str(by_user.directory / "web.qcow2")], capture=True)


def test_the_raw_disk_is_sparse(by_user: Built) -> None:
    status = by_user.raw.stat()
    assert status.st_size == 2 << 30
    assert status.st_blocks * 512 < status.st_size * 3 // 4


def test_checksums_and_a_manifest_lie_beside_the_artefacts(by_user: Built) -> None:
    names = sorted(path.name for path in by_user.directory.iterdir())
    kinds = ("qcow2", "raw", "tar")
    files = [f"web.{kind}{end}" for kind in kinds for end in ("", ".sha256")]
    assert names == sorted(["web.manifest.json", *files])
    for kind in kinds:
        checksum = by_user.directory / f"web.{kind}.sha256"
        process.run(
            ["sha256sum", "--check", "--status", str(checksum)],
            options=process.ProcessOptions(cwd=by_user.directory),
        )


def test_the_image_is_a_blank_slate(by_user: Built) -> None:
    tree = by_user.tree()
    assert by_user.read("./etc/machine-id") == b""
    gone = (
        "./etc/ssh/ssh_host_",
        "./var/lib/systemd/random-seed",
        "./var/lib/apt/lists/",
        "./tmp/",
        "./var/lib/dibo",
    )
    left = [name for name in tree if name.startswith(gone) and name != "./var/lib/apt/lists/partial"]
    assert left == []
    logs = [
        name for name, entry in tree.items() if name.startswith("./var/log/") and entry[0] == tarfile.REGTYPE
    ]
    assert all(by_user.read(name) == b"" for name in logs)
    assert "./usr/sbin/policy-rc.d" not in tree
    assert "./usr/lib/dibo/finalise.d" not in tree
    assert tree["./etc/resolv.conf"][4] == "../run/systemd/resolve/stub-resolv.conf"
    assert not [name for name in tree if name.endswith((".deb", "pkgcache.bin", ".dpkg-new"))]


def test_hooks_saw_what_was_promised(by_user: Built) -> None:
    """The probe flavour wrote down what its hooks found."""
    report = by_user.read("./var/lib/probe/report").decode()
    assert "kernel before install.d: yes" in report
    assert "sudo runs as: root" in report
    assert "context is read-only: yes" in report
    assert "services may start: no" in report
    assert "extra data: from the host" in report


def test_update_initramfs_runs_at_the_end_of_steps_that_ask(by_user: Built) -> None:
    """For the kernel; for the package busybox of the flavour probe, which goes into it; for a hook of it, which
    asks. Nothing after that does, and the last step makes none."""
    runs = by_user.read("./var/lib/probe/initramfs-runs").decode().splitlines()
    assert runs == ["run"] * 3


def test_a_second_build_runs_no_hook(
    builder: pwd.struct_passwd, place: Path, by_user: Built, ubuntu: tuple[FakeWebServer, Keys]
) -> None:
    web, keys = ubuntu
    again = place / "again"
    again.mkdir()
    shutil.chown(again, builder.pw_uid, builder.pw_gid)
    variables = {
        "CLOUD_IMAGES": web.url,
        "RELEASE": RELEASE,
        "DIBO_UBUNTU_KEYRING": str(place / "ubuntu.gpg"),
        "DIBO_UBUNTU_FINGERPRINT": keys.pinned.fingerprint,
        "DIBO_KERNEL": "cloud",
    }
    options = [*_options(place / "cache", again), *STACK]
    plan = user.run_as(
        builder,
        "dibo",
        ["plan", "--cache-dir", str(place / "cache"), "--flavours-path", str(FLAVOURS), *STACK],
        timeout=BUILD_SECONDS,
        environment=variables,
    )
    assert " 0 to build" in plan, plan
    user.run_as(builder, "disk-image-create", options, timeout=BUILD_SECONDS, environment=variables)
    # All but the root file system, whose times mke2fs takes from the mounted tree, is the same to the byte.
    with by_user.raw.open("rb") as one, (again / "web.raw").open("rb") as other:
        length = gpt.decode(one).entries[2].first_lba * 512
        one.seek(0)
        assert one.read(length) == other.read(length)
    uuids = [_uuid(path, length) for path in (by_user.raw, again / "web.raw")]
    assert uuids[0] == uuids[1]


def _uuid(disk: Path, offset: int) -> bytes:
    """Of the ext4 at `offset`: s_uuid, at 0x68 of the superblock (kernel documentation, ext4/super.rst)."""
    with disk.open("rb") as stream:
        stream.seek(offset + 1024 + 0x68)
        return stream.read(16)


@pytest.mark.skipif(os.geteuid() != 0, reason="builds as root, and nobody is root here")
def test_root_builds_the_same_tree(by_user: Built, root_tar: Path, tmp_path: Path, place: Path) -> None:
    (tmp_path / "tmp").mkdir()
    before = host_state(tmp_path)
    variables = ["DIBO_KERNEL=cloud", f"XDG_CONFIG_HOME={tmp_path}", f"TMPDIR={tmp_path}/tmp"]
    argv = ["env", *variables, user.program("disk-image-create")]
    argv += [*_options(tmp_path / "cache", tmp_path), "--base", str(root_tar), *STACK]
    process.run(argv, capture=True, options=process.ProcessOptions(timeout=BUILD_SECONDS))
    assert new_on_host(tmp_path, before) == []
    mine, theirs = Built(directory=tmp_path, said="").tree(), by_user.tree()
    assert sorted(mine.keys() ^ theirs.keys()) == []
    assert [name for name in mine if mine[name] != theirs[name]] == []
