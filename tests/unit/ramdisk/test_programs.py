"""Programs by name, and what they need, found as ld.so(8) finds it, in trees that hold ELF files of our own making."""

from __future__ import annotations

import pytest

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RequestedName
from dibo.ramdisk.elf import read_elf
from dibo.ramdisk.programs import ProgramSelector, applets_of
from dibo.ramdisk.selection import Selection
from dibo.tree.node import Node
from tests.support.elf_files import AARCH64, elf
from tests.support.node_trees import Content, Program, listing, read, tree

LD = "/lib64/ld-linux-x86-64.so.2"
BASE: dict[str, Content | Node] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": Program(elf()),
    "usr/lib/x86_64-linux-gnu/libc.so.6": elf(names=["getaddrinfo", "pthread_exit"]),
}


def word(text: str) -> RequestedName:
    return RequestedName(text=text, flavour="web", file="binary-deps", line=3)


def taken(
    entries: dict[str, Content | Node], *names: str, applets: tuple[str, ...] = ()
) -> dict[str, Content]:
    """What is picked for some names, without what every program needs."""
    selection = Selection(tree({**BASE, **entries}), read)
    programs = ProgramSelector(selection, applets=applets)
    for name in names:
        programs.take(word(name))
    return {path: content for path, content in listing(selection.tree) if path not in BASE}


def program(*needed: str, **more: object) -> Program:
    return Program(elf(needed=["libc.so.6", *needed], interpreter=LD, **more))  # type: ignore[arg-type]


def test_what_an_elf_file_says() -> None:
    found = read_elf(
        elf(needed=["a", "b"], interpreter=LD, rpath="/x:$ORIGIN/y", runpath="/z", names=["getpwnam"])
    )
    assert found.needed == ("a", "b") and found.interpreter == LD
    assert found.rpath == ("/x", "$ORIGIN/y") and found.runpath == ("/z",)
    assert found.kind == (64, "EM_X86_64") and found.resolves and not found.unwinds
    assert read_elf(elf(needed=["libpthread.so.0"])).unwinds
    assert read_elf(elf(machine=AARCH64)).kind == (64, "EM_AARCH64")


@pytest.mark.parametrize("size", [4, 20, 63, 64, 100, 180])
def test_part_of_an_elf_file(size: int) -> None:
    with pytest.raises(ValueError, match=r"incomplete ELF file"):
        read_elf(program()[:size])


def test_loader_and_libraries_with_their_links() -> None:
    libs: dict[str, Content | Node] = {
        "usr/sbin/tgtd": program("libx.so.1"),
        "usr/lib/x86_64-linux-gnu/libx.so.1": "libx.so.1.2",
        "usr/lib/x86_64-linux-gnu/libx.so.1.2": elf(needed=["liby.so"]),
        "usr/lib/liby.so": elf(),
        "usr/lib/other.so": elf(),
    }
    assert taken(libs, "tgtd") == {
        path: content for path, content in libs.items() if path != "usr/lib/other.so"
    }


def test_path_decides_which() -> None:
    entries: dict[str, Content | Node] = {
        "usr/bin/x": Program(b"2"),
        "usr/local/bin/x": Program(b"1"),
        "usr/sbin/x": b"no",
    }
    assert taken(entries, "x") == {"usr/local/bin/x": b"1"}


def test_runpath_with_origin_and_rpath_for_all_below() -> None:
    entries: dict[str, Content | Node] = {
        "opt/app/bin/app": program("libown.so", runpath="$ORIGIN/../lib"),
        "opt/app/lib/libown.so": elf(),
        "usr/bin/app": "/opt/app/bin/app",
        "usr/bin/old": program("liba.so", rpath="/opt/old"),
        "opt/old/liba.so": elf(needed=["libb.so"]),
        "opt/old/libb.so": elf(),
    }
    assert taken(entries, "app", "old") == entries
    bad = {**entries, "usr/bin/old": program("liba.so", runpath="/opt/old")}  # is not for what liba needs
    with pytest.raises(
        RamdiskError, match=r"/opt/old/liba.so \(for old\) needs libb.so, which is not in the root"
    ):
        taken(bad, "old")


def test_a_library_that_only_the_cache_would_know_gets_a_link() -> None:
    entries: dict[str, Content | Node] = {
        "etc/ld.so.conf": b"include /etc/ld.so.conf.d/*.conf # more\n",
        "etc/ld.so.conf.d/x.conf": b"/opt/x/lib\n",
        "usr/bin/x": program("libx.so"),
        "opt/x/lib/libx.so": elf(),
    }
    assert taken(entries, "x") == {
        "usr/bin/x": entries["usr/bin/x"],
        "opt/x/lib/libx.so": entries["opt/x/lib/libx.so"],
        "usr/lib/x86_64-linux-gnu/libx.so": "/opt/x/lib/libx.so",
    }


def test_libraries_of_another_machine_are_passed_by() -> None:
    entries: dict[str, Content | Node] = {
        "usr/bin/x": program("libx.so"),
        "usr/lib/x86_64-linux-gnu/libx.so": elf(machine=AARCH64),
        "usr/lib/libx.so": elf(),
    }
    assert "usr/lib/libx.so" in taken(entries, "x")


def test_resolver_and_unwinder_where_they_are_needed() -> None:
    entries: dict[str, Content | Node] = {
        "usr/bin/wget": program(names=["getaddrinfo"]),
        "usr/bin/plain": program(),
        "usr/bin/thread": program(names=["pthread_cancel"]),
        "usr/lib/x86_64-linux-gnu/libnss_dns.so.2": elf(),
        "usr/lib/x86_64-linux-gnu/libgcc_s.so.1": elf(),
    }
    libraries = [path for path in entries if "/lib/" in path]
    assert [path for path in libraries if path in taken(entries, "wget")] == libraries[:1]
    assert [path for path in libraries if path in taken(entries, "thread")] == libraries[1:]
    assert [path for path in libraries if path in taken(entries, "plain")] == []


def test_scripts_bring_their_interpreter() -> None:
    entries: dict[str, Content | Node] = {
        "usr/bin/a": Program(b"#! /usr/bin/python3 -I\n"),
        "usr/bin/b": Program(b"#!/usr/bin/env -S LC_ALL=C perl -w\n"),
        "usr/bin/c": Program(b"#!/bin/sh\n"),
        "usr/bin/python3": "python3.13",
        "usr/bin/python3.13": program(),
        "usr/bin/perl": program(),
        "usr/bin/sh": "dash",
        "usr/bin/dash": program(),
    }
    assert sorted(taken(entries, "a", "b", "c", applets=("sh",))) == sorted(
        path for path in entries if path not in ("usr/bin/sh", "usr/bin/dash")
    )
    assert "usr/bin/dash" in taken(entries, "c")
    with pytest.raises(
        RamdiskError, match=r"/usr/bin/d, which .* names, is a script for ruby, which is not in"
    ):
        taken({"usr/bin/d": Program(b"#!/usr/bin/ruby\n")}, "d")


def test_applets_count_only_where_the_root_has_nothing() -> None:
    entries: dict[str, Content | Node] = {"usr/bin/wget": Program(b"real")}
    assert taken(entries, "wget", "nc", applets=("wget", "nc")) == {"usr/bin/wget": b"real"}


def test_files_directories_and_libraries_by_path_and_name() -> None:
    entries: dict[str, Content | Node] = {
        "usr/share/misc/pci.ids": b"ids",
        "usr/share/dir/a": b"a",
        "usr/share/dir/tool": program("libk.so.2"),
        "usr/lib/x86_64-linux-gnu/libk.so.2": elf(),
    }
    assert taken(entries, "/usr/share/misc/pci.ids") == {"usr/share/misc/pci.ids": b"ids"}
    assert sorted(taken(entries, "/usr/share/dir")) == sorted(path for path in entries if "pci" not in path)
    assert sorted(taken(entries, "libk.so.2")) == ["usr/lib/x86_64-linux-gnu/libk.so.2"]


def test_what_is_missing_names_flavour_and_package() -> None:
    entries: dict[str, Content | Node] = {
        "var/lib/dpkg/info/lshw.list": b"/.\n/usr/lib/lshw/lshw\n",
        "usr/bin/x": program("libgone.so.1"),
    }
    with pytest.raises(RamdiskError) as caught:
        taken(entries, "lshw")
    assert caught.value.message == (
        "binary-deps:3 of the flavour 'web' names lshw, which is not in the root; "
        "the package lshw contains /usr/lib/lshw/lshw"
    )
    assert "packages" in caught.value.hint
    with pytest.raises(
        RamdiskError, match=r"names x; /usr/bin/x needs libgone.so.1, which is not in the root$"
    ):
        taken(entries, "x")
    with pytest.raises(RamdiskError, match=r"/usr/bin/y.* is damaged: incomplete ELF file"):
        taken({"usr/bin/y": Program(elf()[:70])}, "y")


def test_applets_are_read_from_busybox() -> None:
    names = ["[", "[[", "ash", "cat", "sh", "zcat"]
    table = b"".join(name.encode() + b"\0" for name in names)
    assert applets_of(b"\x7fELF...\xae " + table + b"\0\xff") == tuple(names)
    assert applets_of(b"\x7fELF" + table + b"BusyBox v1") == tuple(names)
    assert applets_of(b"nothing") == ()
