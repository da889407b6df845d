"""What a root says to apt, read out of its files, and why packages of some cannot be chosen before a build."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import pytest

from dibo.build.archives.root_packages import RootPackages, parse_root_packages
from dibo.build.archives.root_reader import KEPT, read_root_packages
from dibo.images.layers.load import LoadOptions, load_tar
from dibo.tree.sinks import Nowhere
from tests.support.images.apt_roots import APT, CHANGED, KEYRING, apt_root, sources, stanza

ADDRESS = "http://archive.example/ubuntu/"
ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
KEY = b"\x99key"
ARCHIVE = {
    "address": "http://x",
    "suite": "noble",
    "components": ["main"],
    "keyrings": [],
    "architectures": [],
    "old": False,
}
LISTED = sources(ADDRESS, "noble", "noble-security")
USUAL: dict[str, str | bytes] = {
    "etc/apt/sources.list.d/ubuntu.sources": LISTED,
    KEYRING: KEY,
}


def read(files: Mapping[str, str | bytes], links: Mapping[str, str] | None = None) -> RootPackages:
    tar = io.BytesIO(apt_root(files, links=links))
    return read_root_packages(load_tar(tar, Nowhere(), LoadOptions(keep=KEPT)).root, "amd64")


def archives(root: RootPackages) -> list[tuple[str, str, tuple[str, ...], int]]:
    return [(a.address, a.suite, a.components, len(a.keyrings)) for a in root.archives]


def test_a_usual_root() -> None:
    root = read(USUAL)
    assert root.obstacle == ""
    assert root.names == ("ubuntu-noble", "ubuntu", "debian", "default")
    assert [(fields["Package"], fields["Version"]) for fields in root.installed] == [
        ("apt", "2.7.14"),
        ("libc", "2.39-1"),
    ]
    address = ADDRESS.rstrip("/")
    assert archives(root) == [(address, "noble", ("main",), 1), (address, "noble-security", ("main",), 1)]
    assert list(root.keyrings.values()) == [KEY]
    assert (root.recommends, root.suggests, root.clock, root.preferences) == (True, False, CHANGED, "")
    assert parse_root_packages(root.text) == root


def test_sources_of_one_line_and_keys_that_all_sources_have() -> None:
    root = read(
        {
            "etc/apt/sources.list": (
                f"deb {ADDRESS} noble main universe # all\n"
                f"deb-src {ADDRESS} noble main\n"
                f"deb [arch=arm64] {ADDRESS} other main\n"
                f"deb [arch=amd64,arm64 signed-by=/etc/apt/keyrings/own.asc] https://own.example/x noble main\n"
            ),
            "etc/apt/sources.list.d/more.list": f"deb {ADDRESS} noble multiverse\n",
            "etc/apt/sources.list.d/ignored.save": "deb nonsense\n",
            "etc/apt/trusted.gpg.d/a.gpg": b"\x99a",
            "etc/apt/trusted.gpg.d/b.asc": f"{ARMOUR}\nb\n",
            "etc/apt/keyrings/own.asc": f"{ARMOUR}\nown\n",
        }
    )
    assert root.obstacle == ""
    assert archives(root) == [
        (ADDRESS.rstrip("/"), "noble", ("main", "universe", "multiverse"), 2),
        ("https://own.example/x", "noble", ("main",), 1),
    ]
    assert sorted(name.rpartition(".")[2] for name in root.keyrings) == ["asc", "asc", "gpg"]


def test_packages_of_other_architectures() -> None:
    """As Ubuntu's images for amd64 have had them."""
    root = read(
        {
            **USUAL,
            "var/lib/dpkg/arch": "amd64\ni386\n",
            "var/lib/dpkg/status": APT + stanza("wine", "1", architecture="i386"),
            "etc/apt/sources.list": (
                f"deb [arch=i386 signed-by=/{KEYRING}] {ADDRESS} only-i386 main\n"
                f"deb [arch=arm64 signed-by=/{KEYRING}] {ADDRESS} only-arm64 main\n"
            ),
        }
    )
    assert root.obstacle == ""
    assert root.foreign == ("i386",)
    assert [(a.suite, a.architectures) for a in root.archives] == [
        ("only-i386", ("i386",)),
        ("noble", ()),
        ("noble-security", ()),
    ]
    assert parse_root_packages(root.text) == root


def test_a_key_within_the_source_and_one_behind_a_link() -> None:
    within = f"\n {ARMOUR}\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"
    root = read(
        {
            "etc/apt/sources.list.d/a.sources": sources(ADDRESS, "noble", signed_by=within),
            "etc/apt/sources.list.d/b.sources": sources("http://b.example", "noble"),
            "usr/share/keyrings/archive.pgp": KEY,
        },
        links={KEYRING: "archive.pgp"},
    )
    assert sorted(root.keyrings.values()) == [
        f"{ARMOUR}\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n".encode(),
        KEY,
    ]


def test_settings_and_preferences_that_decide() -> None:
    root = read(
        {
            **USUAL,
            "etc/apt/apt.conf.d/10-small": (
                '// APT::Install-Suggests "1";\nAPT { Install-Recommends "true"; };\n'
                'Acquire::Check-Valid-Until "false";\nDPkg::Pre-Invoke { "rm -rf /"; };\n'
            ),
            "etc/apt/apt.conf": 'APT::Install-Recommends "0";\n',
            "etc/apt/preferences.d/pin": "Package: *\nPin: origin own.example\nPin-Priority: 10\n",
            "etc/apt/preferences.d/pin.dpkg-old": "Package: nothing\n",
        }
    )
    assert (root.recommends, root.suggests) == (False, False)
    assert all(archive.is_old for archive in root.archives)
    assert root.preferences == "Package: *\nPin: origin own.example\nPin-Priority: 10\n"
    assert parse_root_packages(root.text) == root


def test_packages_that_are_held_and_others_that_are_gone() -> None:
    status = (
        APT + stanza("held", "1", status="hold") + stanza("gone", "1").replace(" installed", " config-files")
    )
    root = read({**USUAL, "var/lib/dpkg/status": status})
    assert [(fields["Package"], fields.get("Status")) for fields in root.installed] == [
        ("apt", None),
        ("libc", None),
        ("held", "hold ok installed"),
    ]


@pytest.mark.parametrize(
    ("files", "obstacle"),
    [
        ({"var/lib/dpkg/status": ""}, "has no apt"),
        ({"var/lib/dpkg/status": APT + stanza("bad name", "1")}, "is damaged"),
        ({"var/lib/dpkg/status": APT + stanza("bad", "1; rm")}, "is damaged"),
        (
            {"var/lib/dpkg/status": APT + stanza("x", "1", architecture="i386")},
            "other architectures than amd64",
        ),
        ({"var/lib/dpkg/arch": "arm64\n"}, "takes packages of arm64, not of amd64"),
        ({"var/lib/dpkg/arch": "amd64\ni386; rm\n"}, "does not know"),
        ({"var/lib/dpkg/arch": "amd64 a b c d e\n"}, "does not know"),
        ({"etc/apt/apt.conf": "apt::default-release noble;"}, "prefers a release"),
        ({"etc/apt/apt.conf": "#clear APT::Install-Recommends;"}, "#clear is no setting"),
        ({"etc/apt/apt.conf": 'Dir::Etc::SourceParts "/opt";'}, "dir::etc::sourceparts"),
        ({"etc/apt/auth.conf.d/own.conf": "machine archive.example login me password secret"}, "has logins"),
        ({"etc/apt/sources.list": "deb https://me:secret@own.example/x noble main\n"}, "login: https://own"),
        ({"etc/apt/sources.list": "deb ftp://me:secret@own.example/x noble main\n"}, "login: ftp://own"),
        ({"etc/apt/sources.list": "deb http://own.example:99999/x noble main\n"}, "no address of http"),
        ({"etc/apt/sources.list": "deb http://[::zz/x noble main\n"}, "no address of http"),
        ({"etc/apt/sources.list": "deb http:///x noble main\n"}, "no address of http"),
        ({"etc/apt/sources.list": f"deb [arch+=i386] {ADDRESS} noble main\n"}, "says arch+"),
        ({"etc/apt/sources.list": f"deb [arch-=amd64] {ADDRESS} noble main\n"}, "says arch-"),
        ({"etc/apt/sources.list": f"deb {ADDRESS}\n"}, "is no source"),
        (
            {"etc/apt/sources.list": "deb http://me:secret@own.example\n"},
            "'deb http://own.example' is no source",
        ),
        ({"etc/apt/sources.list.d/a.sources": f"Types: deb\nURIs: {ADDRESS}\n"}, "a suite is missing"),
        ({"etc/apt/sources.list": "deb file:///media noble main\n"}, "no address of http"),
        ({"etc/apt/sources.list": "deb mirror+file:/etc/apt/mirrors noble main\n"}, "no address of http"),
        ({"etc/apt/sources.list": f"deb [trusted=yes] {ADDRESS} noble main\n"}, "says trusted"),
        ({"etc/apt/sources.list": f"deb {ADDRESS} ./\n"}, "without suite and components"),
        ({"etc/apt/sources.list": f"deb {ADDRESS} ../../x main\n"}, "without suite and components"),
        ({"etc/apt/sources.list": f"deb {ADDRESS} noble main\n"}, "no keys"),
        ({"etc/apt/sources.list": f"deb [signed-by=/no] {ADDRESS} noble main\n"}, "no keys"),
        ({"etc/apt/sources.list": f"deb [signed-by=ABCD] {ADDRESS} noble main\n"}, "no keys"),
        (
            {"etc/apt/sources.list.d/ubuntu.sources": LISTED.replace("Types", "Enabled: no\nTypes")},
            "no source",
        ),
    ],
)
def test_why_packages_are_not_chosen(files: Mapping[str, str], obstacle: str) -> None:
    root = read({**USUAL, **files})
    assert obstacle in root.obstacle
    assert "secret" not in root.text


def test_files_that_apt_does_not_read() -> None:
    wrong = "Package: *\nPin: release a=no\nPin-Priority: -1\n"
    files = {
        "etc/apt/apt.conf.d/90small~": "APT::Install-Recommends no;",
        "etc/apt/apt.conf.d/.90small": "APT::Install-Recommends no;",
        "etc/apt/apt.conf.d/90 small": "APT::Install-Recommends no;",
        "etc/apt/preferences.d/pin~": wrong,
        "etc/apt/preferences.d/.pin": wrong,
        "etc/apt/sources.list.d/a b.list": f"deb {ADDRESS} other main\n",
        "etc/apt/sources.list.d/.a.list": f"deb {ADDRESS} other main\n",
    }
    assert read({**USUAL, **files}) == read(USUAL)


def test_an_empty_keyring_beside_one_with_keys() -> None:
    root = read(
        {
            "etc/apt/sources.list": f"deb {ADDRESS} s main # of one letter\n",
            "etc/apt/trusted.gpg": b"",
            "etc/apt/trusted.gpg.d/a.gpg": b"\x99a",
        }
    )
    assert root.obstacle == ""
    assert archives(root) == [(ADDRESS.rstrip("/"), "s", ("main",), 1)]


def test_an_obstacle_is_one_line_that_can_be_shown() -> None:
    root = read({**USUAL, "etc/apt/sources.list": f"deb [a\x1b[1mb{'c' * 400}=1] {ADDRESS} noble main\n"})
    assert root.obstacle.startswith("a source of packages of the base says a[1mb")
    assert len(root.obstacle) == 300
    document = json.dumps(json.loads(root.text) | {"obstacle": "x\n\x1b[1m8ad78f97d289  cached"})
    assert parse_root_packages(document).obstacle == "x[1m8ad78f97d289  cached"


def test_roots_without_packages_of_dpkg() -> None:
    tree = load_tar(io.BytesIO(bytes(10240)), Nowhere(), LoadOptions(keep=KEPT)).root
    root = read_root_packages(tree, "amd64")
    assert root == RootPackages(obstacle="the base has no packages of dpkg")
    assert parse_root_packages(root.text) == root


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 0),
        ("installed", [{"Package": "a\nb", "Version": "1", "Architecture": "all"}]),
        ("archives", [{**ARCHIVE, "address": "file:///x"}]),
        ("archives", [{**ARCHIVE, "keyrings": ["ab"]}]),
        ("archives", [{**ARCHIVE, "architectures": ["a b"]}]),
        ("archives", [{"address": "http://x"}]),
        ("foreign", ["i386 ]"]),
        ("keyrings", {"../../etc/passwd": ""}),
        ("keyrings", {"ab": "?"}),
        ("keyrings", []),
        ("clock", float("inf")),
        ("installed", [{"Package": "a", "Version": "1", "Architecture": "all", "Depends": ["b"]}]),
    ],
)
def test_what_is_kept_is_checked_again(name: str, value: object) -> None:
    document = {**json.loads(read(USUAL).text), name: value}
    with pytest.raises(ValueError, match=r"expected|base64"):
        parse_root_packages(json.dumps(document))


def test_what_is_kept_and_very_deep() -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_root_packages("[" * 200_000)
