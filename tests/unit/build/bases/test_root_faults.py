"""Roots that say odd things to apt, and caches that are damaged: what is read all the same, and what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.build.package_choice import choose_packages
from dibo.errors import BaseError, FlavourError
from dibo.plan.plan import describe
from tests.support.flavours import read_recipe, write_flavour
from tests.support.images.apt_roots import APT, KEYRING, apt_root, sources, stanza
from tests.support.servers.debian_archive import RELEASE, DebianArchive
from tests.unit.build.bases.root_parts import MakeRootBase, files_of, listed, plan_of


def test_keys_with_armour_as_people_keep_them(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path
) -> None:
    key = b"of a test\n\n" + archive.key.export(armour=True).replace(b"\n", b"\r\n")
    root = apt_root(files_of(archive) | {KEYRING: key})
    assert listed(plan_of(make_base(root), flavours, "b")) == {"b": ["tool-b 1-1"]}


def test_files_that_are_no_keys_beside_keys_that_all_sources_have(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path
) -> None:
    files = files_of(archive) | {
        "etc/apt/sources.list": f"deb {archive.url}/debian {RELEASE} main\n",
        "etc/apt/trusted.gpg": b"",
        "etc/apt/trusted.gpg.d/a.gpg": archive.keyring.read_bytes(),
        "etc/apt/trusted.gpg.d/b.gpg": bytes(8) + b"KBXf",
    }
    del files["etc/apt/sources.list.d/ubuntu.sources"]
    assert listed(plan_of(make_base(apt_root(files)), flavours, "b")) == {"b": ["tool-b 1-1"]}


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        (
            {"var/lib/dpkg/status": APT + stanza("library", "2.0-1", status="hold")},
            r"tool-a : Depends: library \(>= 3\) but 2.0-1 is to be installed",
            "holds back",
        ),
        (
            {"etc/apt/preferences": "Package: tool-a\nPin: version *\nPin-Priority: -1\n"},
            "no installation candidate",
            "prefers",
        ),
        ({KEYRING: b"\x99no key"}, "NO_PUBKEY", "--epoch"),
        ({KEYRING: "of no source"}, "NO_PUBKEY", "--epoch"),
        (
            {"etc/apt/sources.list.d/ubuntu.sources": sources("http://127.0.0.1:1/x", RELEASE)},
            "refused",
            "--epoch",
        ),
    ],
)
def test_what_is_wrong_is_said(
    archive: DebianArchive,
    make_base: MakeRootBase,
    flavours: Path,
    more: dict[str, str | bytes],
    message: str,
    hint: str,
) -> None:
    base = make_base(apt_root(files_of(archive) | more))
    with pytest.raises(BaseError, match=message) as caught:
        choose_packages(read_recipe(flavours, "a"), base)
    assert hint in caught.value.hint


def test_a_source_that_is_gone(archive: DebianArchive, make_base: MakeRootBase, flavours: Path) -> None:
    listed_sources = sources(f"{archive.url}/gone", RELEASE)
    base = make_base(apt_root(files_of(archive) | {"etc/apt/sources.list.d/ubuntu.sources": listed_sources}))
    with pytest.raises(BaseError, match="404") as caught:
        choose_packages(read_recipe(flavours, "a"), base)
    assert "--epoch" in caught.value.hint


def test_a_tar_that_is_cut_off(make_base: MakeRootBase, flavours: Path) -> None:
    base = make_base(apt_root({})[:1500])
    with pytest.raises(BaseError, match=r"root\.tar is no tar that can be read: .* of the archive: "):
        choose_packages(read_recipe(flavours, "a"), base)


@pytest.mark.parametrize("kind", ["roots", "resolved", "last", "states"])
def test_damaged_files_in_the_cache_do_not_count(
    make_base: MakeRootBase, flavours: Path, tmp_path: Path, kind: str
) -> None:
    first = plan_of(make_base(), flavours, "a")
    for path in (tmp_path / "cache/archives" / kind).iterdir():
        path.write_text("[" * 200_000)
    assert plan_of(make_base(), flavours, "a").keys == first.keys


def test_a_plan_says_why_packages_are_not_chosen(make_base: MakeRootBase, flavours: Path) -> None:
    without_apt = plan_of(make_base(apt_root({"var/lib/dpkg/status": ""})), flavours, "a")
    assert "epoch         2026-11, of all layers: the base has no apt" in describe(without_apt).splitlines()
    assert "epoch         2026-11" in describe(plan_of(make_base(resolves=False), flavours, "a")).splitlines()


def test_a_directory_for_temporary_files_with_blanks(
    make_base: MakeRootBase, flavours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "with [blanks] in it"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    assert listed(plan_of(make_base(), flavours, "b")) == {"b": ["tool-b 1-1"]}


def test_what_was_not_used_in_a_month_is_forgotten(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "cache/archives"

    def paths() -> set[Path]:
        return {path for kind in ("roots", "resolved", "lists") for path in (directory / kind).iterdir()}

    archive.publish("unrelated", "1-1")
    plan_of(make_base(), flavours, "a")
    old = paths()
    for path in old:
        os.utime(path, (0, 0))
    key = archive.key.export(armour=True)
    plan_of(make_base(apt_root(files_of(archive) | {KEYRING: key})), flavours, "a")
    assert not paths() & old
    used = paths()
    for path in used:
        os.utime(path, (0, 0))
    archive.sign()
    plan_of(make_base(apt_root(files_of(archive) | {KEYRING: key})), flavours, "a")
    assert {path.parent.name for path in paths() & used} == {"roots", "lists"}


def test_a_flavour_without_a_list_for_the_root(make_base: MakeRootBase, flavours: Path) -> None:
    write_flavour(flavours, "of-others", yaml="packages: {fedora: [tool-a], ubuntu-jammy: [tool-a]}\n")
    with pytest.raises(FlavourError, match="for fedora, ubuntu-jammy, and none for ubuntu-noble") as caught:
        choose_packages(read_recipe(flavours, "of-others"), make_base())
    assert "ubuntu-noble, ubuntu, debian, default" in caught.value.hint


def test_sources_are_not_asked_where_a_hook_gives_apt_others(make_base: MakeRootBase, flavours: Path) -> None:
    """As where only a mirror can be reached, which a hook names."""
    hook = "#!/bin/sh\nsed -i s/archive/mirror/ /etc/apt/sources.list\n"
    write_flavour(flavours, "mirror", {"pre-install.d/10-mirror": hook})
    unreachable = sources("http://127.0.0.1:1/x", RELEASE)
    root = apt_root({"etc/apt/sources.list.d/a.sources": unreachable, KEYRING: b"\x99key"})
    plan = plan_of(make_base(root), flavours, "mirror", "a")
    assert listed(plan) == {}
    assert plan.chooses_packages
