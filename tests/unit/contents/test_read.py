"""The same root in every form has the same inventory; names lead to the right reader."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.contents.inventory import NO_LAYER, FileRecord, Inventory, shown
from dibo.contents.read import ReadRequest, open_contents, read_inventory
from dibo.errors import DiboError, DiskImageError, ImageError, ManifestError
from dibo.formats.qcow2.writer import Qcow2
from tests.support.images.image_forms import (
    CAPABILITY,
    FORMS,
    Member,
    debian_root,
    layers_of,
    write_disk,
    write_form,
    write_layout,
    write_ramdisk,
    write_tar,
)


def _normal(record: FileRecord) -> FileRecord:
    return replace(record, layer=NO_LAYER, digest="", mtime=record.mtime // 10**9, xattrs=dict(record.xattrs))


def _files(inventory: Inventory) -> dict[bytes, FileRecord]:
    """Without what the form adds: early files of an initramfs, lost+found of ext4; with times in whole seconds."""
    added = (b"kernel", b"lost+found")
    named = {path: record for path, record in inventory.files.items() if not path.startswith(added)}
    return {path: _normal(record) for path, record in named.items() if record.kind != "directory"}


@pytest.mark.parametrize("form", FORMS)
def test_inventory_of_each_form(tmp_path: Path, request_: ReadRequest, form: str) -> None:
    inventory = read_inventory(write_form(form, tmp_path, debian_root()), request_)
    files = inventory.files
    assert [(p.name, p.version, p.size, p.source) for p in inventory.packages or ()] == [
        ("bash", "5.2-1", 7000 << 10, ""),
        ("dpkg", "1.22", 0, "dpkg-source"),
    ]
    assert {unit.name: unit.state for unit in inventory.units} == {
        "getty@.service": "enabled",
        "masked.service": "masked",
        "off.service": "disabled",
        "plain.service": "static",
        "web.service": "enabled",
        "web.socket": "disabled",
    }
    assert [(u.name, u.uid, u.password) for u in inventory.users] == [
        ("root", 0, "none"),
        ("web", 1000, "set"),
    ]
    assert [(g.name, g.members) for g in inventory.groups] == [("root", ()), ("shadow", ("root", "web"))]
    assert [kernel.version for kernel in inventory.kernels] == ["6.1.0-9-amd64"]
    assert inventory.cmdline == ("root=LABEL=x", "ro", "quiet")
    assert inventory.os_release["ID"] == "debian"
    assert inventory.architecture == "amd64"
    assert (files[b"usr/bin/su"].kind, files[b"usr/bin/su"].mode) == ("file", 0o4755)
    assert files[b"dev/large"].device == (300, 70_000)
    assert files[b"dev/null"].kind == "character device"
    assert (files[b"etc/shadow"].gid, files[b"etc/shadow"].mode) == (42, 0o640)
    assert files[b"usr/bin/bash"].package == "bash"
    assert files[b"usr/bin/rbash"].first_name == b"usr/bin/bash"
    assert files[b"etc/os-release"].target == b"../usr/lib/os-release"
    if form != "ramdisk":  # cpio has no attributes
        assert files[b"usr/bin/ping"].xattrs == {b"security.capability": CAPABILITY}
    assert list(files) == sorted(files, key=lambda path: path.split(b"/"))


def test_forms_have_the_same_files(tmp_path: Path, request_: ReadRequest) -> None:
    root = debian_root()
    root["usr/bin/ping"] = b"ping"  # cpio has no attributes
    tar, *others = (_files(read_inventory(write_form(form, tmp_path, root), request_)) for form in FORMS)
    for other in others:
        assert other == tar


@pytest.mark.parametrize("form", FORMS)
def test_digests_are_read_when_asked_for(tmp_path: Path, request_: ReadRequest, form: str) -> None:
    name = write_form(form, tmp_path, debian_root())
    with open_contents(name, request_) as contents:
        digests = contents.digests([b"usr/bin/bash", b"usr/bin/rbash", b"no/such", b"etc"])
    digest = hashlib.sha256(b"#!shell" * 1000).hexdigest()
    assert digests == {b"usr/bin/bash": digest, b"usr/bin/rbash": digest}


def test_layer_of_each_file(tmp_path: Path, request_: ReadRequest) -> None:
    first, second = layers_of(debian_root(), "usr/bin", "etc/passwd")
    second["etc/.wh.group"] = b""
    name = write_layout(tmp_path / "image", first, second)
    inventory = read_inventory(name, request_)
    assert inventory.files[b"usr/bin/bash"].layer == 1
    assert inventory.files[b"etc/shadow"].layer == 0
    assert inventory.files[b"etc"].layer == 0
    assert inventory.files[b"usr/bin"].layer == 1
    assert b"etc/group" not in inventory.files
    assert [layer.title for layer in inventory.layers] == ["by hand", "by hand"]
    assert inventory.totals.stored == sum(layer.size for layer in inventory.layers)


def test_digests_while_reading(tmp_path: Path, request_: ReadRequest) -> None:
    name = write_layout(tmp_path / "image", debian_root())
    files = read_inventory(name, replace(request_, hashes=True)).files
    assert files[b"usr/bin/su"].digest == hashlib.sha256(b"su").hexdigest()


def test_digest_of_a_file_behind_a_link_of_another_layer(tmp_path: Path, request_: ReadRequest) -> None:
    """A layer alone has the file at another name than the image."""
    name = write_layout(tmp_path / "image", {"usr/lib/x": b"x", "lib": "usr/lib"}, {"lib/new": b"new"})
    with open_contents(name, request_) as contents:
        assert b"usr/lib/new" in contents.inventory.files
        assert contents.digests([b"usr/lib/new"]) == {b"usr/lib/new": hashlib.sha256(b"new").hexdigest()}


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_tars_and_archives_of_images(tmp_path: Path, request_: ReadRequest, suffix: str) -> None:
    root = write_tar(tmp_path / "root.tar", debian_root())
    write_layout(tmp_path / "layout", debian_root())
    with tarfile.open(tmp_path / "layout.tar", "w") as tar:
        tar.add(tmp_path / "layout", ".")
    for path, form in ((root, "tar"), (tmp_path / "layout.tar", "image")):
        packed = path.with_name(path.name + suffix)
        packed.write_bytes(_packed(path.read_bytes(), suffix))
        inventory = read_inventory(str(packed), request_)
        assert inventory.form == form
        assert len(inventory.packages or ()) == 2


def _packed(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".gz":
            return gzip.compress(data)
        case ".xz":
            return lzma.compress(data)
    return data


def test_directory(tmp_path: Path, request_: ReadRequest) -> None:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "root" / "away").symlink_to("/etc")
    with open_contents(str(tmp_path / "root"), request_) as contents:
        assert contents.inventory.form == "directory"
        assert [*contents.inventory.files] == [b"away", b"etc", b"etc/passwd"]
        assert [user.name for user in contents.inventory.users] == ["root"]
        assert [*contents.digests([b"etc/passwd", b"away"])] == [b"etc/passwd"]


def test_manifest_names_its_artefact(tmp_path: Path, request_: ReadRequest) -> None:
    write_disk(tmp_path / "web.raw", debian_root())
    write_tar(tmp_path / "web.tar", {"in/the/tar": b""})
    artefacts = [{"type": "tar", "name": "web.tar"}, {"type": "raw", "name": "web.raw"}]
    manifest = tmp_path / "web.manifest.json"
    manifest.write_text(json.dumps({"format": 1, "architecture": "arm64", "artefacts": artefacts}))
    inventory = read_inventory(str(manifest), request_)
    assert (inventory.form, inventory.architecture) == ("disk", "arm64")
    assert read_inventory(str(tmp_path / "web.tar"), request_).manifest == inventory.manifest
    manifest.write_text(json.dumps({"format": 1, "artefacts": [{"type": "raw", "name": "../web.raw"}]}))
    with pytest.raises(ManifestError, match="names files elsewhere"):
        read_inventory(str(manifest), request_)


def test_hostile_names_and_sizes(tmp_path: Path, request_: ReadRequest) -> None:
    root = {
        **debian_root(),
        "a\x1b[31m\n": b"",
        "var/lib/dpkg/status": Member(data=b"Package: \x1b]0;x\x07\n" * 9),
    }
    inventory = read_inventory(str(write_disk(tmp_path / "x.raw", root)), request_)
    assert shown(next(iter(inventory.files))) == "/a\x1b[31m\n"
    assert inventory.packages is not None
    root["var/lib/dpkg/status"] = Member(data=bytes(17 << 20))
    inventory = read_inventory(str(write_disk(tmp_path / "y.raw", root, size=64 << 20)), request_)
    assert inventory.packages is None
    assert any("/var/lib/dpkg/status is not read: it has 17825792 bytes" in note for note in inventory.notes)


@pytest.mark.parametrize("cut", [1, 200, 1000])
def test_cut_ramdisk(tmp_path: Path, request_: ReadRequest, cut: int) -> None:
    path = write_ramdisk(tmp_path / "x.ramdisk", debian_root())
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises((DiskImageError, ImageError)):
        read_inventory(str(path), request_)


def test_a_manifest_that_does_not_fit_is_named(tmp_path: Path, request_: ReadRequest) -> None:
    disk, manifest = write_disk(tmp_path / "web.raw", debian_root()), tmp_path / "web.manifest.json"
    size, digest = disk.stat().st_size, hashlib.sha256(disk.read_bytes()).hexdigest()

    def notes(size: int, digest: str | None, *, name: Path = disk) -> str:
        artefact = {"type": "raw", "name": "web.raw", "size": size, "sha256": digest}
        manifest.write_text(json.dumps({"format": 1, "artefacts": [artefact]}))
        os.utime(manifest, ns=(0, disk.stat().st_mtime_ns + age))
        return "\n".join(read_inventory(str(name), request_).notes)

    age = -1
    assert "manifest" not in notes(size, digest)
    assert "manifest" not in notes(size, None)
    wrong = f"the manifest beside {disk} does not fit it: it has {size} bytes, and the manifest says 7"
    assert wrong in notes(7, digest)
    assert wrong in notes(7, digest, name=manifest)
    assert f"its sha256 is {digest}, and the manifest says 00" in notes(size, "0" * 64)
    age = 0
    assert "manifest" not in notes(size, "0" * 64), "bytes of before the manifest are not read for it"


@pytest.mark.parametrize("size", [1000, 70_000])
def test_a_cut_qcow2_is_named(tmp_path: Path, request_: ReadRequest, size: int) -> None:
    with Qcow2(tmp_path / "whole.qcow2", 1 << 20) as disk:
        disk.write(0, [os.urandom(1 << 16)])
    path = tmp_path / "cut.qcow2"
    path.write_bytes((tmp_path / "whole.qcow2").read_bytes()[:size])
    with pytest.raises(DiskImageError, match=r"cut\.qcow2 ends .* is it whole"):
        read_inventory(str(path), request_)


def test_what_is_no_image(tmp_path: Path, request_: ReadRequest) -> None:
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    for name in (str(tmp_path / "zeros"), str(tmp_path / "missing"), "x" * 5000, "a\0b"):
        with pytest.raises(DiboError):
            read_inventory(name, request_)


def test_a_tar_of_more_files_than_an_archive_has(
    tmp_path: Path, request_: ReadRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_form("tar", tmp_path, debian_root())
    monkeypatch.setattr("dibo.images.sources.tarindex._MOST_MEMBERS", 3)
    assert read_inventory(path, request_).packages


def test_a_fifo_is_refused_before_it_is_opened(tmp_path: Path, request_: ReadRequest) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ImageError, match="fifo is no file"):
        read_inventory(str(tmp_path / "fifo"), request_)
