"""A kit on an image: what goes into their common tree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from dibo.boot.boot_files import BootFiles
from dibo.boot.prepared import PreparedRoot
from dibo.errors import ImageError, UsageError
from dibo.images.image import Image
from dibo.kits.attach import Attachment, attach
from dibo.kits.manifest import KitManifest, parse_kit_manifest
from tests.support.node_trees import Content, Program, tree

MANIFEST = KitManifest(profile="cloud", architecture="amd64", kernel="6.12-cloud")
FILES: dict[str, Any] = {
    "usr/lib/dibo/kit/manifest.json": MANIFEST.text().encode(),
    "usr/lib/modules/6.12-cloud/modules.dep": b"",
    "app": Program(b""),
}


def image(name: str = "web", architecture: str = "amd64", **run: Any) -> Image:
    return Image(
        name=name, digest=f"sha256:{name}", architecture=architecture, layers=(), config={"config": run}
    )


KIT = image("kit", Labels={"io.dibo.kit": "cloud"})


def settled(files: dict[str, Content] | None = None, attachment: Attachment | None = None) -> PreparedRoot:
    chosen = attachment or attach(image(Cmd=["/app"]), KIT, own_init=None, restart="always")
    return chosen.settle(tree({**FILES, **(files or {})}), PreparedRoot(boot=BootFiles(core=b"core")))


def paths(found: Any) -> list[str]:
    return sorted(map(str, found))


def test_an_image_with_nothing_else() -> None:
    prepared = settled()
    assert prepared.boot.core == b"core"
    assert paths(prepared.files) == ["/etc/passwd", "/usr/lib/dibo/service/conf", "/usr/lib/dibo/service/run"]
    assert prepared.links == {
        PurePosixPath("/lib/modules/6.12-cloud"): b"/usr/lib/modules/6.12-cloud",
        PurePosixPath("/etc/resolv.conf"): b"/run/dibo/resolv.conf",
        PurePosixPath("/etc/hosts"): b"/run/dibo/hosts",
    }
    assert paths(prepared.directories) == ["/dev", "/proc", "/run", "/sys", "/tmp"]
    assert prepared.directories[PurePosixPath("/tmp")] == 0o1777


def test_an_image_with_a_merged_usr() -> None:
    prepared = settled({"lib": "usr/lib", "etc/passwd": b"root:x:0:0::/root:/bin/sh\n", "tmp": None})
    assert "/etc/passwd" not in paths(prepared.files)
    assert paths(prepared.links) == ["/etc/hosts", "/etc/resolv.conf"]
    assert "/tmp" not in paths(prepared.directories)


def test_an_image_with_a_lib_of_its_own() -> None:
    assert "/lib/modules/6.12-cloud" in paths(settled({"lib/libc.so": b""}).links)


def test_directories_that_are_missing_are_made_where_links_lead() -> None:
    run = image(Cmd=["/app"], WorkingDir="/var/run/web/here", Volumes={"/srv/data": {}})
    prepared = settled({"var/run": "/run", "run": None}, attach(run, KIT, own_init=None, restart="never"))
    assert {"/run/web/here", "/srv/data"} <= set(paths(prepared.directories))
    assert b"restart=never" in prepared.files[PurePosixPath("/usr/lib/dibo/service/conf")]


def test_a_directory_below_a_file() -> None:
    with pytest.raises(ImageError, match=r"/app is a file"):
        settled(None, attach(image(Cmd=["/app"], WorkingDir="/app/x"), KIT, own_init=None, restart="always"))


def test_an_init_of_its_own() -> None:
    attachment = attach(image(Cmd=["/sbin/init"]), KIT, own_init=None, restart="always")
    prepared = settled({"sbin/init": Program(b"")}, attachment)
    assert paths(prepared.files) == []
    assert paths(prepared.links) == ["/lib/modules/6.12-cloud"]
    with pytest.raises(UsageError, match="no /sbin/init"):
        settled(None, replace(attachment, own_init=True))


def test_a_program_although_there_is_an_init() -> None:
    attachment = attach(image(Cmd=["/sbin/init"]), KIT, own_init=False, restart="always")
    assert "/usr/lib/dibo/service/run" in paths(settled({"sbin/init": Program(b"")}, attachment).files)


def test_kits_that_are_none() -> None:
    with pytest.raises(ImageError, match="other is no kit: it has no label"):
        attach(image(), image("other"), own_init=None, restart="always")
    with pytest.raises(ImageError, match="for amd64, and the kit kit for arm64"):
        attach(image(), replace(KIT, architecture="arm64"), own_init=None, restart="always")
    attachment = attach(image(Cmd=["/app"]), KIT, own_init=None, restart="always")
    with pytest.raises(ImageError, match=r"no /usr/lib/dibo/kit/manifest\.json"):
        attachment.settle(tree({}), PreparedRoot(boot=BootFiles()))
    arm = replace(MANIFEST, architecture="arm64").text().encode()
    with pytest.raises(ImageError, match="manifest says arm64"):
        settled({"usr/lib/dibo/kit/manifest.json": arm})


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"format": 2}',
        b'{"format": true}',
        b'{"format": 1}',
        b'{"format": 1, "profile": "cloud", "architecture": "amd64", "kernel": "../x"}',
        b'{"format": 1, "profile": "a b", "architecture": "amd64", "kernel": "6"}',
        b"[" * 100_000,
    ],
)
def test_manifests_that_are_none(text: bytes) -> None:
    with pytest.raises(ImageError, match="the kit old cannot be used") as caught:
        parse_kit_manifest(text, name="old")
    assert "dibo build --kit" in caught.value.hint


def test_the_identity_is_that_of_both() -> None:
    one = attach(image(), KIT, own_init=None, restart="always").identity
    assert one != attach(image("web2"), KIT, own_init=None, restart="always").identity
    assert one != attach(image(), replace(KIT, digest="sha256:2"), own_init=None, restart="always").identity


def test_a_manifest_comes_back() -> None:
    assert parse_kit_manifest(MANIFEST.text().encode(), name="kit") == MANIFEST
