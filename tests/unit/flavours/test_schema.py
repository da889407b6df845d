"""flavour.yaml: each key right and wrong, and the schema and the reader of one mind."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from dibo.errors import FlavourError, LayoutError
from dibo.flavours.model import Secret
from dibo.flavours.schema import SCHEMA, FlavourManifest, parse_manifest

DISK = """\
disk:
  table: gpt
  partitions:
    - {name: root, type: linux-root, size: rest, filesystem: ext4, label: cloudimg-rootfs, mount: /}
"""

GOOD: dict[str, FlavourManifest | None] = {
    "{}": FlavourManifest(),
    "summary: A web server": FlavourManifest(summary="A web server"),
    "summary: |\n  ends with a newline\n": FlavourManifest(summary="ends with a newline"),
    "packages: [nginx, libstdc++6, 'linux-image-$KERNEL', 'a:i386', 'b=1.2~3']": FlavourManifest(
        packages=(("default", ("nginx", "libstdc++6", "linux-image-$KERNEL", "a:i386", "b=1.2~3")),)
    ),
    "packages: []": FlavourManifest(),
    "packages: {ubuntu-noble: [b], debian: [a, a], default: []}": FlavourManifest(
        packages=(("debian", ("a",)), ("default", ()), ("ubuntu-noble", ("b",)))
    ),
    "needs: [vm, other-1.0, vm]": FlavourManifest(needs=("vm", "other-1.0")),
    "clashes: [apache]": FlavourManifest(clashes=("apache",)),
    "environment: {PORT: 80, NAME: web, EMPTY: null, DEBUG: true, LOAD: 0.5}": FlavourManifest(
        environment=(("DEBUG", "true"), ("EMPTY", ""), ("LOAD", "0.5"), ("NAME", "web"), ("PORT", "80"))
    ),
    "local: true": FlavourManifest(local=True),
    "architectures: [amd64, arm64]": FlavourManifest(architectures=("amd64", "arm64")),
    DISK: None,
}

BAD = {
    "sumary: x": "unknown key 'sumary'; did you mean 'summary'",
    "package: [x]": "unknown key 'package'; did you mean 'packages'",
    "need: [x]": "unknown key 'need'; did you mean 'needs'",
    "zzz: 1": "unknown key 'zzz'",
    "1: 2": "unknown key 1",
    "- a list": "is not a mapping",
    "a word": "is not a mapping",
    "summary: [x]": "summary is one line of text",
    "summary: 5": "summary is one line of text",
    'summary: "two\\nlines"': "summary is one line of text",
    "packages: nginx": "packages is a list, or lists by distribution",
    "packages: null": "packages is a list, or lists by distribution",
    "packages: [1]": "packages: 1 is not a name",
    "packages: ['a b']": "packages: 'a b' is not a name",
    "packages: ['-y']": "packages: '-y' is not a name",
    "packages: ['a;reboot']": "packages: 'a;reboot' is not a name",
    "packages: {debian: nginx}": "packages.debian is a list",
    "packages: {'Debian 12': [x]}": "'Debian 12' is no distribution",
    "needs: vm": "needs is a list",
    "needs: ['../vm']": "needs: '../vm' cannot be the name of a flavour",
    "needs: null": "needs is a list",
    "clashes: {a: b}": "clashes is a list",
    "clashes: [A]": "clashes: 'A' cannot be the name of a flavour",
    "environment: [A]": "environment maps names to defaults",
    "environment: {A-B: 1}": "'A-B' is not the name of a variable",
    "environment: {A: [1]}": r"environment.A: the default is text",
    'environment: {A: "1\\n2"}': r"environment.A: the default is one line",
    'environment: {A: "1\\0"}': r"environment.A: the default is one line",
    "local: 1": "local is true or false",
    "local: 'yes'": "local is true or false",
    "architectures: []": "architectures is a list of amd64",
    "architectures: amd64": "architectures is a list of amd64",
    "architectures: [mips]": "architectures is a list of amd64",
    "architectures: null": "architectures is a list of amd64",
    "disk: null": "disk",
    "disk: {tabel: gpt}": "disk.tabel",
}


def parse(text: str) -> FlavourManifest:
    return parse_manifest(yaml.safe_load(text), origin="f/flavour.yaml")


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right(text: str) -> None:
    expected = GOOD[text]
    found = parse(text)
    if expected is None:
        assert found.disk is not None
        assert dict(found.disk.partitions[-1].values)["label"] == "cloudimg-rootfs"
    else:
        assert found == expected


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_says_where(text: str) -> None:
    with pytest.raises((FlavourError, LayoutError), match=BAD[text]) as caught:
        parse(text)
    assert caught.value.message.startswith("f/flavour.yaml")


def test_an_empty_file_says_nothing() -> None:
    assert parse("") == FlavourManifest()


def test_an_unknown_key_lists_those_there_are() -> None:
    with pytest.raises(FlavourError) as caught:
        parse("zzz: 1")
    assert all(key in caught.value.hint for key in SCHEMA["properties"])  # type: ignore[attr-defined]


def valid(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(document))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", GOOD)
def test_the_schema_takes_what_the_reader_takes(text: str) -> None:
    assert valid(yaml.safe_load(text))


@pytest.mark.parametrize("text", [text for text in BAD if text != "1: 2"])  # JSON has no such keys
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    assert not valid(yaml.safe_load(text))


def test_secrets() -> None:
    manifest = parse_manifest(
        {"secrets": ["token", {"name": "a", "rebuild": True}, {"name": "b"}]}, origin="f"
    )
    assert manifest.secrets == (
        Secret(name="a", rebuild=True),
        Secret(name="b"),
        Secret(name="token"),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("token", "expected a list"),
        (["../x"], "cannot be the name of a secret"),
        ([{"rebuild": True}], "expected a name or a mapping"),
        ([{"name": "a", "value": "x"}], "expected a name or a mapping"),
        ([{"name": "a", "rebuild": "yes"}], "rebuild is true or false"),
        (["a", {"name": "a"}], "'a' is listed twice"),
        ([3], "expected a name or a mapping"),
    ],
)
def test_secrets_that_are_none(value: object, message: str) -> None:
    with pytest.raises(FlavourError, match=message):
        parse_manifest({"secrets": value}, origin="f")


@pytest.mark.parametrize("key", ["needs", "clashes"])
def test_a_name_that_no_flavour_can_have(key: str) -> None:
    with pytest.raises(
        FlavourError, match=rf"web/flavour.yaml: {key}: 'My_Web' cannot be the name of a flavour"
    ) as caught:
        parse_manifest({key: ["My_Web"]}, origin="web/flavour.yaml")
    assert caught.value.hint.startswith("use a-z")
