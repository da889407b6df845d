"""`fetch` and `network` in flavour.yaml: what they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from dibo.errors import FlavourError
from dibo.flavours.loader import load_flavour
from dibo.flavours.model import NETWORK_PHASES, FetchedFile, Phase
from dibo.flavours.schema import SCHEMA, parse_manifest
from tests.support.flavours import write_flavour

SHA = "ab" * 32
URL = "https://example.org/tool-1.2.tar.gz"


def parsed(text: str) -> tuple[FetchedFile, ...]:
    data = yaml.safe_load(text)
    jsonschema.validate(data, SCHEMA)
    return parse_manifest(data, origin="flavour.yaml").fetch


def test_a_file() -> None:
    (file,) = parsed(f"fetch: [{{url: '{URL}', sha256: {SHA.upper()}}}]")
    assert (file.name, file.sha256, file.urls, file.mode) == ("tool-1.2.tar.gz", SHA, (URL,), 0o644)


def test_all_that_can_be_said() -> None:
    (file,) = parsed(
        f"""
fetch:
  - url: ['{URL}', 'http://mirror.example:8080/a?b=c']
    sha256: {SHA}
    name: tool
    mode: "0755"
    architectures: [arm64, amd64]
    phases: [install.d]
"""
    )
    assert file == FetchedFile(
        name="tool",
        sha256=SHA,
        executable=True,
        urls=(),
        architectures=("amd64", "arm64"),
        phases=("install.d",),
    )
    assert file.urls == (URL, "http://mirror.example:8080/a?b=c")
    assert file.mode == 0o755


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{}", r"fetch\[0\]: expected a mapping with `url` and `sha256`"),
        (f"{{url: '{URL}'}}", r"fetch\[0\]: expected a mapping with `url` and `sha256`"),
        (f"{{url: '{URL}', sha256: abc}}", r"fetch\[0\].sha256: expected 64 hexadecimal digits, got 'abc'"),
        (f"{{url: '{URL}', sha256: {SHA}, sha512: x}}", "unknown key 'sha512'"),
        (f"{{url: 'ftp://example.org/x', sha256: {SHA}}}", "expected an http or https address, got 'ftp"),
        (f"{{url: 'https://me:word@example.org/x', sha256: {SHA}}}", "got an address with a login"),
        (f"{{url: 'https://me@example.org', sha256: {SHA}}}", "got an address with a login"),
        (f"{{url: 'https://example.org/x#y', sha256: {SHA}}}", "expected an http or https address"),
        (f"{{url: 'https://example.org:x/y', sha256: {SHA}}}", "expected an http or https address"),
        (f"{{url: [], sha256: {SHA}}}", "expected an address, got none"),
        (f"{{url: 'https://example.org/', sha256: {SHA}}}", "'' cannot be the name of a fetched file"),
        (f"{{url: '{URL}', sha256: {SHA}, name: a/b}}", "'a/b' cannot be the name of a fetched file"),
        (f"{{url: '{URL}', sha256: {SHA}, name: ..}}", "'..' cannot be the name"),
        (f"{{url: '{URL}', sha256: {SHA}, mode: 0755}}", 'expected "0644" or "0755", in quotes, got 493'),
        (
            f"{{url: '{URL}', sha256: {SHA}, architectures: [pdp11]}}",
            "architectures: expected a list of amd64",
        ),
        (
            f"{{url: '{URL}', sha256: {SHA}, phases: [first-boot.d]}}",
            "phases: expected a list of pre-install.d",
        ),
    ],
)
def test_what_is_refused(entry: str, message: str) -> None:
    with pytest.raises(FlavourError, match=message) as caught:
        parse_manifest(yaml.safe_load(f"fetch: [{entry}]"), origin="flavour.yaml")
    assert "word" not in caught.value.message


def test_one_name_stands_for_one_file_of_an_architecture() -> None:
    one = f"{{url: '{URL}', sha256: {SHA}, name: tool, architectures: [amd64]}}"
    with pytest.raises(FlavourError, match=r"'tool' is listed twice for amd64"):
        parsed(f"fetch: [{one}, {{url: '{URL}', sha256: {SHA}, name: tool}}]")
    assert len(parsed(f"fetch: [{one}, {one.replace('[amd64]', '[arm64]')}]")) == 2


def test_who_sees_it(tmp_path: Path) -> None:
    text = f"""
fetch:
  - {{url: '{URL}', sha256: {SHA}, name: a, architectures: [amd64]}}
  - {{url: '{URL}', sha256: {SHA}, name: b, phases: [install.d]}}
"""
    flavour = load_flavour(write_flavour(tmp_path, "web", ["install.d/10-x"], yaml=text))

    def names(phase: Phase, architecture: str) -> list[str]:
        return [file.name for file in flavour.fetched_in(phase, architecture)]

    assert names(Phase.INSTALL, "amd64") == ["a", "b"]
    assert names(Phase.INSTALL, "arm64") == ["b"]
    assert names(Phase.PRE_INSTALL, "amd64") == ["a"]
    assert names(Phase.FIRST_BOOT, "amd64") == names(Phase.EXTRA_DATA, "amd64") == []


def test_the_directory_of_fetched_files_is_dibos(tmp_path: Path) -> None:
    text = f"fetch: [{{url: '{URL}', sha256: {SHA}}}]\n"
    directory = write_flavour(tmp_path, "web", ["install.d/10-x", "fetched/x"], yaml=text)
    with pytest.raises(FlavourError, match="web/fetched cannot be seen by hooks"):
        load_flavour(directory)
    (directory / "flavour.yaml").unlink()
    assert [file.path for file in load_flavour(directory).files] == ["fetched/x", "install.d/10-x"]


@pytest.mark.parametrize(
    ("value", "phases"),
    [
        ("true", NETWORK_PHASES),
        ("false", ()),
        ("[]", ()),
        ("[finalise, pre-install.d]", ("pre-install.d", "finalise")),
    ],
)
def test_network(value: str, phases: tuple[str, ...]) -> None:
    data = yaml.safe_load(f"network: {value}")
    jsonschema.validate(data, SCHEMA)
    assert parse_manifest(data, origin="flavour.yaml").network == phases
    assert parse_manifest({}, origin="flavour.yaml").network is None


@pytest.mark.parametrize("value", ["none", "[first-boot.d]", "{a: b}", "1"])
def test_another_network_is_refused(value: str) -> None:
    with pytest.raises(
        FlavourError, match=r"network: expected true, false or a list of pre-install.d, install.d"
    ):
        parse_manifest(yaml.safe_load(f"network: {value}"), origin="flavour.yaml")
