"""Hooks that probably fail: line endings, interpreters, and variables that nothing sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.errors import FlavourError
from dibo.flavours.lint import lint
from dibo.flavours.loader import Catalogue
from dibo.flavours.stack import make_stack
from tests.support.flavours import read_stack, write_flavour

PROJECT = Path(__file__).parents[3]
HOOK = "install.d/10-x"
WHERE = f"the hook {HOOK} of the flavour 'web'"


def warnings(directory: Path, text: str, *, hook: str = HOOK, yaml: str = "") -> tuple[str, ...]:
    write_flavour(directory, "web", {hook: text}, yaml=yaml)
    return lint(read_stack(directory, "web"), lambda _: None)


def test_crlf_in_the_first_line_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        FlavourError, match=r"line 1: it ends in CRLF, so the interpreter '/bin/sh'"
    ) as caught:
        warnings(tmp_path, "#!/bin/sh\r\necho\r\n")
    assert "sed -i 's/\\r$//' install.d/10-x" in caught.value.hint


def test_crlf_elsewhere_is_named_with_its_line(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, "#!/bin/sh\necho a\necho b\r\necho c\r\n")
    assert warning.startswith(f"{WHERE}, line 3: it ends in CRLF")


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("echo", "it does not begin with #! and an interpreter"),
        ("#!", "expected the path of an interpreter after #!, such as /bin/sh, got nothing"),
        ("#!bash", "expected the path of an interpreter after #!, such as /bin/sh, got 'bash'"),
        ("#!/nope/sh", "the interpreter /nope/sh is in no directory where distributions have programs"),
        ("#!/usr/sh -e", "the interpreter /usr/sh is in no directory"),
        ("#!/usr/bin/env", "/usr/bin/env has no program to run"),
        ("#!/usr/bin/env bash -e", "takes 'bash -e' for one name; write /usr/bin/env -S bash -e"),
    ],
)
def test_interpreters(first: str, said: str, tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, f"{first}\n")
    assert warning.startswith(f"{WHERE}, line 1: ")
    assert said in warning


@pytest.mark.parametrize(
    "first",
    [
        "#!/bin/sh",
        "#! /bin/bash -eu",
        "#!/usr/bin/env python3",
        "#!/opt/mine",
        "#!/usr/local/venv/bin/python",
    ],
)
def test_interpreters_that_may_be_right(first: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, f"{first}\n") == ()


def test_an_interpreter_that_this_machine_lacks(tmp_path: Path) -> None:
    hook = "extra-data.d/10-x"
    (warning,) = warnings(tmp_path, "#!/usr/bin/pyhton3\n", hook=hook)
    assert "it runs on this machine, which has no program /usr/bin/pyhton3" in warning


def test_a_program_is_not_read_as_text(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web", {HOOK: ""})
    (tmp_path / "web" / HOOK).write_bytes(b"\x7fELF\r\n$DIBO_X\n")
    assert lint(read_stack(tmp_path, "web"), lambda _: None) == ()


DECLARED = "environment: {HTTP_PORT: '80'}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo $DIBO_PORT", "$DIBO_PORT is not declared, and variables of the user reach a hook only"),
        ('echo "${DIBO_PORT}"', "$DIBO_PORT is not declared"),
        ("echo $HTTP_PROT", "$HTTP_PROT is not declared; did you mean HTTP_PORT?"),
        ('x="$(echo "$HTTP_PROT")"', "did you mean HTTP_PORT?"),
        ("cat << EOF\n$HTTP_PROT\nEOF", "line 3: $HTTP_PROT"),
        (
            "echo $OTHER",
            "line 2: $OTHER is set by nothing: declare it under `environment`, or give it a default",
        ),
        ("# a comment\necho ${OTHER%/} $OTHER", "line 3: $OTHER is set by nothing"),
        ("cat << EOF\n$OTHER\nEOF", "line 3: $OTHER is set by nothing"),
        ("echo '$ANY'\"$OTHER\"", "line 2: $OTHER is set by nothing"),
    ],
)
def test_variables_that_nothing_sets(line: str, said: str, tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, f"#!/bin/sh\n{line}\n", yaml=DECLARED)
    assert warning.startswith(WHERE)
    assert said in warning


@pytest.mark.parametrize(
    "text",
    [
        "echo $HTTP_PORT ${ANY:-} $other",
        "echo $ARCH $RELEASE $DEBIAN_FRONTEND $LC_ALL $BASH_SOURCE $OPTARG $REPLY",
        "echo $((ANY = 3)); echo $ANY",
        "((ANY++)); echo $ANY",
        "getopts ab ANY; echo $ANY",
        "ANY=1 make; echo $ANY",
        '[ -z "${ANY+x}" ] || echo $ANY',
        "if . ./settings; then echo $ANY; fi",
        "(. ./settings; echo $ANY)",
        "export $(cat settings)\necho $ANY",
        'eval "$(cat settings)"\necho $ANY',
        "x=$(cat << 'EOF'\n$ANY\nEOF\n)",
        "x=\"`awk '{ print $NF }' file`\"",
        "awk '{\n  print $NF\n}' file",
        "cat << 'A' << 'B'\n$ANY\nA\n$ANY\nB",
        "cat <<-'A'\n\t$ANY\n\tA",
        'sed -i "s/\\$ANY/x/" file',
        "echo 'never closed\necho $ANY",
        "DIBO_A=1; echo $DIBO_A",
        "export DIBO_A=1\necho $DIBO_A",
        "echo ${DIBO_A:-none}",
        '[ -n "${DIBO_A-}" ] && echo $DIBO_A',
        "read -r DIBO_A DIBO_B\necho $DIBO_A $DIBO_B",
        "for DIBO_A in 1 2; do echo $DIBO_A; done",
        "printf -v DIBO_A x; echo $DIBO_A",
        "echo '$DIBO_A'",
        "echo \"a 'b\" '$DIBO_A'",
        "echo \\$DIBO_A",
        "echo a # $DIBO_A",
        "# it's $DIBO_A",
        "cat << 'EOF'\n$DIBO_A\nEOF",
        "x=\"$(awk '{ print $DIBO_A }')\"",
        ". ./settings\necho $DIBO_A",
        "cat <<< \"x\"; echo '$DIBO_A'",
        "while read -r DIBO_A; do echo $DIBO_A; done",
        "local DIBO_A DIBO_B\necho $DIBO_B",
    ],
)
def test_variables_that_may_be_right(text: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, f"#!/bin/bash\n{text}\n", yaml=DECLARED) == ()


def test_other_languages_are_not_read(tmp_path: Path) -> None:
    assert warnings(tmp_path, "#!/usr/bin/perl\nprint $DIBO_A;\n") == ()


def test_a_variable_of_a_flavour_that_is_not_needed(tmp_path: Path) -> None:
    write_flavour(tmp_path, "net", yaml=DECLARED)
    write_flavour(tmp_path, "web", {HOOK: "#!/bin/sh\necho $HTTP_PORT\n"})
    (warning,) = lint(read_stack(tmp_path, "net", "web"), lambda _: None)
    assert (
        warning
        == f"{WHERE}, line 2: $HTTP_PORT is a variable of the flavour 'net', which is not under `needs`"
    )
    write_flavour(tmp_path, "web", {HOOK: "#!/bin/sh\necho $HTTP_PORT\n"}, yaml="needs: [net]\n")
    assert lint(read_stack(tmp_path, "web"), lambda _: None) == ()


def test_hooks_on_the_host_see_variables_of_the_whole_stack(tmp_path: Path) -> None:
    write_flavour(tmp_path, "net", yaml=DECLARED)
    write_flavour(tmp_path, "web", {"extra-data.d/10-x": "#!/bin/sh\necho $HTTP_PORT\n"})
    assert lint(read_stack(tmp_path, "net", "web"), lambda _: None) == ()


def test_a_declared_variable_at_first_boot(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, "#!/bin/sh\necho $HTTP_PORT\n", hook="first-boot.d/10-x", yaml=DECLARED)
    assert "line 2: $HTTP_PORT is not set at first boot" in warning


@pytest.mark.parametrize("directory", ["flavours", "examples", "tests/integration/flavours"])
def test_no_flavour_of_this_project_is_doubted(directory: str) -> None:
    catalogue = Catalogue([PROJECT / directory, PROJECT / "flavours"])
    names = [path.parent.name for path in sorted((PROJECT / directory).glob("*/flavour.yaml"))]
    stacks = [make_stack([name], catalogue.get, architecture="amd64") for name in names]
    assert [warning for stack in stacks for warning in lint(stack, lambda _: None) if "hook" in warning] == []
