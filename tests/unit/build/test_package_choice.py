"""When packages are chosen before a build, and what of a list is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.build.package_choice import changes_apt
from tests.support.flavours import read_stack, write_flavour


@pytest.mark.parametrize(
    ("path", "text", "changes"),
    [
        ("pre-install.d/10-source", "cp files/x.list /etc/apt/sources.list.d/", True),
        ("pre-install.d/10-source", "add-apt-repository ppa:x", True),
        ("pre-install.d/10-kernel", "apt-get install linux-image-amd64", False),
        ("install.d/10-source", "cp files/x.list /etc/apt/sources.list.d/", False),
    ],
)
def test_hooks_before_the_lists_that_may_change_what_apt_chooses(
    path: str, text: str, changes: bool, tmp_path: Path
) -> None:
    write_flavour(tmp_path, "web", {path: f"#!/bin/sh\n{text}\n"}, yaml="packages: [nginx]\n")
    assert changes_apt(read_stack(tmp_path, "web")) == changes
