"""Hooks that fetch: what no key covers, or where they have no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.flavours.lint import lint
from tests.support.flavours import read_stack, write_flavour


def warnings(directory: Path, text: str, *, phase: str = "install.d", yaml: str = "") -> tuple[str, ...]:
    write_flavour(directory, "web", {f"{phase}/10-x": f"#!/bin/sh\n{text}\n"}, yaml=yaml)
    return lint(read_stack(directory, "web"), lambda _: None)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("curl -fsS https://example.org/x -o /x", "curl"),
        ("set -e; wget -q https://example.org/x", "wget"),
        ("git clone https://example.org/x", "git clone"),
        ("git -C /src pull", "git -C /src pull"),
        ("pip install --quiet x", "pip install"),
        ("python3 -m pip install x", "python3 -m pip install"),
        ("version=$(curl https://example.org/version)", "curl"),
        ('echo "$(wget -O- https://example.org/x)"', "wget"),
        ("if ! curl https://example.org/x; then exit 1; fi", "curl"),
        ("LC_ALL=C curl x | tar x", "curl"),
        ("cat x |\n  sudo curl x", "curl"),
    ],
)
def test_what_no_key_covers(text: str, command: str, tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, text)
    assert warning.startswith("the hook install.d/10-x of the flavour 'web', line ")
    assert (
        f"line {2 + text.count(chr(10))}: no key covers what {command} fetches; list it under `fetch`"
        in warning
    )
    assert warnings(tmp_path, text, yaml="network: true\n") == ()
    (warning,) = warnings(tmp_path, text, yaml="network: [pre-install.d]\n")
    assert f"{command} needs the network, which steps of install.d do not have" in warning


@pytest.mark.parametrize(
    "text",
    [
        "apt-get install -y curl wget",
        "echo curl",
        "# curl https://example.org/x",
        "rm -f /usr/bin/curl /etc/wgetrc",
        "cat > /usr/bin/x <<END\ncurl https://example.org/x\nEND",
        "cat > /usr/bin/x <<'END'\ncurl https://example.org/x\nEND",
        "git -C /src log",
        "pip list",
        "curl_options=-x",
    ],
)
def test_what_fetches_nothing(text: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, text) == ()


def test_apt_without_network(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, "apt-get install x", yaml="network: false\n")
    assert "line 2: apt-get install needs the network" in warning
    assert warnings(tmp_path, "apt-get purge x", yaml="network: false\n") == ()


def test_hooks_on_the_host_and_at_first_boot_are_not_judged(tmp_path: Path) -> None:
    assert warnings(tmp_path, "curl x", phase="first-boot.d", yaml="network: false\n") == ()


def test_flavours_that_come_with_dibo_say_whether_they_use_the_network() -> None:
    from dibo.flavours.loader import Catalogue
    from dibo.system import resources

    catalogue = Catalogue([resources.shared("flavours")])
    silent = [entry.name for entry in catalogue if catalogue.get(entry.name).network is None]
    assert silent == []
