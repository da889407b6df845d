"""What the wheel brings besides Python: man pages and completions, where their readers look."""

from __future__ import annotations

import subprocess

import pytest

from dibo.cli.commands import COMMANDS, PROGRAMS
from tests.support.host.installed_dibo import installed_dibo
from tests.support.requirements import need

pytestmark = pytest.mark.integration


def test_man_finds_each_page_beside_the_programs() -> None:
    need("man")
    programs = installed_dibo()
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": "/nonexistent"}
    for name in ("dibo", *PROGRAMS, *(f"dibo-{name}" for name in COMMANDS)):
        done = subprocess.run(["man", "-w", name], capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == str(programs.parent / "share" / "man" / "man1" / f"{name}.1"), name


def test_shells_find_completions_of_each_program() -> None:
    share = installed_dibo().parent / "share"
    for program in ("dibo", *PROGRAMS):
        assert (share / "bash-completion" / "completions" / program).is_file()
        assert (share / "fish" / "vendor_completions.d" / f"{program}.fish").is_file()
        assert program in (share / "zsh" / "site-functions" / "_dibo").read_text().splitlines()[0].split()
