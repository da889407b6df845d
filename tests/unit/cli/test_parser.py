"""Command lines: forms of options, and what an invalid one says."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from dibo.cli.commands import COMMANDS, PROGRAMS, parser_of
from dibo.cli.main import dibo, disk_image_create
from dibo.cli.parser import folded
from dibo.errors import UsageError


def parsers() -> Iterator[argparse.ArgumentParser]:
    """Of every program and command, and of the actions of these."""
    queue: list[argparse.ArgumentParser] = [parser_of("dibo"), *map(parser_of, PROGRAMS)]
    while queue:
        parser = queue.pop()
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                queue += action.choices.values()


@pytest.mark.parametrize("parser", list(parsers()), ids=lambda parser: parser.prog)
def test_each_short_option_has_a_long_form(parser: argparse.ArgumentParser) -> None:
    short = [action for action in parser._actions if action.option_strings]
    assert not [
        action.option_strings
        for action in short
        if not any(form.startswith("--") for form in action.option_strings)
    ]


@pytest.mark.parametrize("parser", list(parsers()), ids=lambda parser: parser.prog)
def test_each_value_of_an_option_has_a_name(parser: argparse.ArgumentParser) -> None:
    """Help makes one up where there is none; the reference and man pages take it as it is."""
    options = [action for action in parser._actions if action.option_strings and action.nargs != 0]
    assert [option.option_strings for option in options if not option.metavar] == []


@pytest.mark.parametrize(
    ("program", "short", "long"),
    [
        (
            "disk-image-create",
            "-o n -t raw -a arm64 -x vm",
            "--output n --type raw --arch arm64 --verbose vm",
        ),
        ("ramdisk-image-create", "-o n -k 6.1 -m / a", "--output n --kernel 6.1 --module-root / a"),
        ("disk-image-get-kernel", "-i f -d d -o p", "--image f --directory d --prefix p"),
        ("dibo", "convert -o n -t raw -a arm64 i", "convert --output n --type raw --arch arm64 i"),
    ],
)
def test_long_forms_mean_what_short_ones_mean(program: str, short: str, long: str) -> None:
    parser = parser_of(program)
    assert parser.parse_args(short.split()) == parser.parse_args(long.split())


def test_the_help_of_dibo_names_the_family(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dibo(["-h"])
    text = capsys.readouterr().out
    for name in PROGRAMS:
        assert f"\n  {name} " in text
    for name in COMMANDS:
        assert f"\n    {name} " in text
    assert "example:\n  disk-image-create " in text
    assert "documentation" in text


@pytest.mark.parametrize(
    ("line", "message", "usage"),
    [
        ("plann vm", "dibo has no command 'plann'; did you mean 'plan' or 'clean'?", "dibo COMMAND ..."),
        ("cache lst", "dibo cache has no action 'lst'; did you mean 'list'?", "dibo cache ACTION ..."),
        (
            "plan --flavor-path x vm",
            "dibo plan has no option --flavor-path; did you mean '--flavours-path'?",
            "dibo plan [OPTION ...] [FLAVOUR ...]",
        ),
        ("cache list --jsn h/a", "did you mean '--json'?", "dibo cache list [OPTION ...] REF"),
        ("push", "required: FILE", "dibo push [OPTION ...] FILE [REFERENCE]"),
        ("push a b c", "unexpected argument 'c'", "dibo push [OPTION ...] FILE [REFERENCE]"),
        (
            "schema flavor",
            "did you mean 'flavour'?",
            "dibo schema ",
        ),
        ("disk-image-create vm", "disk-image-create is a program of its own", ""),
        ("why --cache-to h/a vm", "dibo why has no option --cache-to", "dibo why "),
        ("plan --sign-key f vm", "dibo plan has no option --sign-key", "dibo plan "),
        ("convert --host-hooks run h/a", "dibo convert has no option --host-hooks", "dibo convert "),
        ("--hlep", "dibo has no option --hlep; did you mean '--help'?", "dibo COMMAND ..."),
        ("push --jsn", "dibo push has no option --jsn; did you mean '--json'?", "dibo push "),
        ("push -- --x", "the following arguments are required: REFERENCE", "dibo push "),
    ],
)
def test_an_error_names_what_was_meant_and_the_right_usage(
    line: str, message: str, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dibo(line.split()) == UsageError.exit_code
    text = capsys.readouterr().err
    assert message in text.splitlines()[0]
    assert not usage or f"\n  usage: {usage}" in text


def test_a_program_is_named_in_its_own_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert disk_image_create(["--outptu", "web", "vm"]) == UsageError.exit_code
    text = capsys.readouterr().err
    assert "disk-image-create has no option --outptu; did you mean '--output'" in text
    assert "usage: disk-image-create [OPTION ...] FLAVOUR ..." in text


@pytest.mark.parametrize("parser", list(parsers()), ids=lambda parser: parser.prog)
def test_help_fits_on_a_terminal_of_80_columns(
    parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert not [line for line in parser.format_help().splitlines() if len(line) > 80]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("  NAME   one two three", ["  NAME   one two", "         three"]),
        ("prose with four words", ["prose with four", "words"]),
        ("  command -o   # why", ["  command -o  # why"]),
        ("  command -o name   # why", ["  # why", "  command -o name"]),
        ("  a command that is longer", ["  a command that is longer"]),
        ("  short", ["  short"]),
    ],
)
def test_long_lines_of_an_epilog_are_folded_under_their_column(line: str, lines: list[str]) -> None:
    assert folded(line, 19) == lines


def test_flavours_stand_before_and_after_options() -> None:
    parsed = parser_of("disk-image-create").parse_args(["vm", "-o", "web", "mysql"])
    assert (parsed.flavours, parsed.name) == (["vm", "mysql"], "web")


def test_a_purpose_that_is_nearly_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert dibo(["doctor", "bild"]) == UsageError.exit_code
    assert "'bild' is no purpose; did you mean 'build'?" in capsys.readouterr().err
