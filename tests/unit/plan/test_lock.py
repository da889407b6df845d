"""What a lock says, and what moved since."""

from __future__ import annotations

import json

import pytest

from dibo.plan.lock import LockedBase, LockedFile, lock_changes, lock_document, parse_lock
from dibo.plan.packages import ArchivePackage, ChosenPackages


def chosen(wish: str, *packages: tuple[str, str, str], words: tuple[str, ...] = ("nginx",)) -> ChosenPackages:
    listed = [
        ArchivePackage(
            name=name,
            version=version,
            architecture="amd64",
            sha256=sha256 * 64,
            size=1,
            path="pool/x.deb",
            is_security=version.endswith("+deb13u1"),
        ).document()
        for name, version, sha256 in packages
    ]
    return ChosenPackages(
        name="0", wish=wish, words=words, text=json.dumps({"packages": listed, "removed": []})
    )


def base(sha256: str) -> LockedBase:
    return LockedBase(name="ubuntu:noble amd64", ingredients={"kind": "ubuntu", "sha256": sha256})


OLD = parse_lock(
    lock_document(
        [
            chosen("1", ("libc6", "1", "a"), words=("?narrow(x)", "apt")),
            chosen("2", ("nginx", "1", "a"), ("old", "1", "a")),
            chosen("3", ("curl", "1", "a"), words=("curl",)),
        ],
        epoch="2026-11",
        bases=(base("aa"),),
        snapshots=("http://snapshot.example/20261101T000000Z",),
    )
)


def test_nothing_moved() -> None:
    assert lock_changes(OLD, OLD) == ()
    assert OLD.snapshots == ("http://snapshot.example/20261101T000000Z",)


def test_what_moved() -> None:
    now = parse_lock(
        lock_document(
            [
                chosen("1", ("libc6", "1", "b"), words=("?narrow(x)", "apt")),
                chosen("2", ("nginx", "1+deb13u1", "c"), ("new", "2", "d")),
                chosen("4", ("jq", "1", "a"), words=("jq", "yq")),
            ],
            epoch="2026-12",
            bases=(base("bb"),),
        )
    )
    assert lock_changes(now, OLD) == (
        ("epoch", ("2026-11 → 2026-12",)),
        ("base ubuntu:noble amd64", ('sha256: "aa" -> "bb"',)),
        ("the base", ("libc6 1 has other content under the same version",)),
        ("curl", ("is gone",)),
        ("jq yq", ("is new",)),
        ("nginx", ("new 2 is new", "nginx 1 → 1+deb13u1 (security)", "old 1 is gone")),
    )


def with_files(**sums: str) -> dict[str, object]:
    files = {
        f"web/{name} amd64": LockedFile(
            sha256=digit * 64, urls=(f"https://example.org/{name}-{digit}",), size=int(digit, 16)
        )
        for name, digit in sums.items()
    }
    return lock_document([], epoch="2026-11", fetched=files)


def test_files_that_moved() -> None:
    now, before = (
        parse_lock(with_files(tool="a", new="1", same="2")),
        parse_lock(with_files(tool="b", old="1", same="2")),
    )
    assert lock_changes(now, before) == (
        ("fetched web/new amd64", ("is new",)),
        ("fetched web/old amd64", ("is gone",)),
        (
            "fetched web/tool amd64",
            (
                f"sha256 {'b' * 64} → {'a' * 64}",
                "url https://example.org/tool-b → https://example.org/tool-a",
            ),
        ),
    )
    assert now.fetched is not None
    assert now.fetched["web/tool amd64"].size == 10
    assert OLD.fetched is None
    assert parse_lock(with_files()).fetched == {}


def test_files_that_are_none() -> None:
    document = with_files(tool="a")
    document["fetched"] = {"web/tool amd64": {"sha256": "a" * 64}}
    with pytest.raises(ValueError, match="expected fetched files with sha256, urls and size"):
        parse_lock(document)
