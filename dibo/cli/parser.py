"""The parser of every command: help in one form for all versions of Python, and errors that name what was meant.

An invalid command line raises UsageError, so it is reported as every other error is, with the usage of the command
that it belongs to.
"""

from __future__ import annotations

import argparse
import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from dibo.errors import UsageError

LISTS = ("TYPES", "FLAVOURS", "SECTIONS")
"""What stands for values separated by commas."""
_LONGEST_SHORT = 2
"""Characters of a short option, such as -o."""
_COLUMN = 30
"""Where explanations of options begin."""
_ENTRY = re.compile(r" *\S+ {2,}(?=[^\s#])")
"""A line of a table: a name, and where its explanation begins."""
_EXAMPLE = re.compile(r"(?P<indent> +)(?P<command>\S.*?) {2,}(?P<comment># .*)")
"""A command with a comment."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are those of dibo."""

    programs: Sequence[str] = ()
    """What looks like a command of this one, and is a program of its own."""
    _words: tuple[str, ...] = ()
    """What is parsed."""

    def __init__(self, **given: Any) -> None:
        super().__init__(formatter_class=Formatter, **given)

    def format_usage(self) -> str:
        return f"usage: {self.synopsis()}\n"

    def synopsis(self) -> str:
        """The command with its positional arguments; the options are a word."""
        words = [self.prog]
        if any(action.option_strings and action.dest not in ("help", "version") for action in self._actions):
            words.append("[OPTION ...]")
        words += [positional(action) for action in self._actions if not action.option_strings]
        return " ".join(words)

    def format_help(self) -> str:
        self.usage = self.synopsis().replace("%", "%%")
        return super().format_help()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuses what the command does not know, where argparse leaves that to the program. Flavours may stand
        before and after options. Raises UsageError."""
        self._words = tuple(args or ())
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown and hasattr(parsed, "flavours") and not any(word.startswith("-") for word in unknown):
            parsed.flavours = [*parsed.flavours, *unknown]
            unknown = []
        if unknown:
            self._refuse(unknown)
        return parsed, []

    def error(self, message: str) -> NoReturn:
        """Name an option that does not exist before the arguments that are missing: where there is a typo, that
        is the error."""
        if message.startswith("the following arguments are required"):
            self._refuse_unknown_options()
        raise UsageError(message, hint=self._hint())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):
            if value in self.programs:
                raise UsageError(f"{value} is a program of its own: leave out `dibo`", hint=f"{value} -h")
            kind = (action.metavar if isinstance(action.metavar, str) else "command").lower()
            self.error(f"{self.prog} has no {kind} {value!r}{meant(value, choices)}")
        name = "/".join(action.option_strings) or action.metavar or action.dest
        self.error(f"{name} expects one of {', '.join(choices)}; got {value!r}{meant(value, choices)}")

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        option = next((word for word in unknown if word.startswith("-")), None)
        if option is None:
            self.error(f"unexpected argument {unknown[0]!r}")
        name = option.partition("=")[0]
        self.error(f"{self.prog} has no option {name}{meant(name, self._option_string_actions)}")

    def _refuse_unknown_options(self) -> None:
        """Raises UsageError."""
        words = itertools.takewhile(lambda word: word != "--", self._words)
        if self._has_commands():  # the words behind a command are those of its own parser
            words = itertools.takewhile(lambda word: word.startswith("-"), words)
        unknown = [word for word in words if word.startswith("--") and not self._knows(word)]
        if unknown:
            self._refuse(unknown)

    def _knows(self, word: str) -> bool:
        """Whether it is an option, or begins one."""
        return any(option.startswith(word.partition("=")[0]) for option in self._option_string_actions)

    def _has_commands(self) -> bool:
        return any(action.nargs == argparse.PARSER for action in self._actions)

    def _hint(self) -> str:
        listed = "commands" if self._has_commands() else "options"
        return f"usage: {self.synopsis()}\n`{self.prog} -h` lists the {listed}"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Options as `-o, --output NAME`, with any version of Python; the parts of an epilog as they are, folded where the
    terminal is narrower."""

    def __init__(self, prog: str, **given: Any) -> None:
        super().__init__(prog, **{"max_help_position": _COLUMN} | given)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):  # argparse forgets how far these are indented
            longest = max(map(len, action.choices), default=0) + self._current_indent + 2
            self._action_max_length = max(self._action_max_length, longest)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(f"{indent}{line}\n" for long in text.splitlines() for line in folded(long, width))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        return invocation(action)


def folded(line: str, width: int) -> list[str]:
    """A line of an epilog, or of a list, as lines of at most `width` characters: a row of a table under its column, a
    comment above its command. A longer command stays on one line, as one copies it."""
    if len(line) <= width:
        return [line]
    if example := _EXAMPLE.fullmatch(line):
        indent, command, comment = example.groups()
        beside = f"{indent}{command}  {comment}"
        return [beside] if len(beside) <= width else [f"{indent}{comment}", f"{indent}{command}"]
    entry = _ENTRY.match(line)
    if entry is None and line.startswith(" "):
        return [line]
    hanging = " " * (entry.end() if entry else 0)
    return textwrap.wrap(
        line, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


def invocation(action: argparse.Action) -> str:
    """An option with its value, such as `-o, --output NAME`."""
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"{', '.join(action.option_strings)}{value}"


def complete_with(argument: argparse.Action, values: Callable[[argparse.Namespace], Iterable[str]]) -> None:
    """Have shells offer `values` for an argument; where it takes several, after each comma too."""

    def offer(prefix: str, parsed_args: argparse.Namespace, **_rest: object) -> list[str]:
        before, comma, last = prefix.rpartition(",") if argument.metavar in LISTS else ("", "", prefix)
        return [f"{before}{comma}{value}" for value in values(parsed_args) if value.startswith(last)]

    argument.completer = offer  # type: ignore[attr-defined]


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing."""
    from dibo.flavours.schema import nearest

    names = [name for name in known if len(name) > _LONGEST_SHORT]
    return nearest(word, names)


def positional(action: argparse.Action) -> str:
    if action.choices is not None and action.nargs != argparse.PARSER:
        name = "|".join(map(str, action.choices))
    else:
        name = str(action.metavar or action.dest)
    forms = {argparse.PARSER: f"{name} ...", "+": f"{name} ...", "*": f"[{name} ...]", "?": f"[{name}]"}
    return forms.get(str(action.nargs), name)
