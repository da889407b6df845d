"""The commands in a shell script: which program stands where a command begins, with which words.

A tokenizer of POSIX.1-2017, XCU 2.3 with bash's `[[`, `<<<` and `<(`, not a shell: quotes go, parameters stay as they
are written (`$IMAGE_NAME`), and the bodies of here-documents are skipped. Commands in `$(...)` count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*(\[[^]]*\])?\+?=")
_RESERVED: Final = frozenset(
    ("if", "then", "elif", "else", "fi", "while", "until", "do", "done", "{", "}", "!", "time", "function")
)
_SEPARATORS: Final = ("&&", "||", ";;&", ";;", ";&", "|&", ";", "|", "&", "\n")
_REDIRECTIONS: Final = ("<<<", "<<-", "<<", "&>>", "&>", ">>", ">|", ">&", "<&", "<>", "<", ">")
_OPERATORS: Final = tuple(sorted((*_SEPARATORS, *_REDIRECTIONS, "(", ")"), key=len, reverse=True))
_ENDS_WORD: Final = frozenset(" \t\n;&|<>()")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellCommand:
    line: int
    """In the file, from 1."""
    words: tuple[str, ...]
    """The program and its arguments, without quotes; none for an assignment alone."""
    assignments: tuple[str, ...] = ()
    """NAME=value, before the program."""
    targets: tuple[str, ...] = ()
    """Of redirections, such as `>/etc/fstab`."""
    substituted: bool = False
    """Whether it is in `$(...)`."""
    guarded: bool = False
    """Whether its failure is provided for: `if a`, `a || b`."""

    @property
    def program(self) -> str:
        """The last part of the program's path; empty for an assignment."""
        return self.words[0].rpartition("/")[2] if self.words else ""

    def __str__(self) -> str:
        return " ".join((*self.assignments, *self.words))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    text: str
    line: int
    operator: bool = False


def shell_commands(text: str) -> list[ShellCommand]:
    """The commands of a script, in the order of their lines. What is not understood is passed over."""
    commands = list(_commands(text, 1, substituted=False))
    return sorted(commands, key=lambda command: command.line)


def _commands(text: str, line: int, *, substituted: bool) -> Iterator[ShellCommand]:
    lexer = _Lexer(text, line)
    tokens = list(lexer.tokens())
    yield from _split(tokens, substituted=substituted)
    for inner, inner_line in lexer.nested:
        yield from _commands(inner, inner_line, substituted=True)


class _Lexer:
    """Words and operators. `nested` gets the texts of command substitutions, with their lines."""

    def __init__(self, text: str, line: int) -> None:
        self._text = text
        self._at = 0
        self._line = line
        self._pending: list[tuple[str, bool]] = []
        """Here-documents that begin after this line: the word that ends each, and whether tabs before it go."""
        self.nested: list[tuple[str, int]] = []

    def tokens(self) -> Iterator[_Token]:
        text = self._text
        while self._at < len(text):
            character = text[self._at]
            if character in " \t":
                self._at += 1
            elif text.startswith("\\\n", self._at):
                self._advance(2)
            elif character == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif text.startswith(("<(", ">("), self._at):
                self._at += 1
                self._parentheses()
            elif operator := next((one for one in _OPERATORS if text.startswith(one, self._at)), ""):
                yield from self._operator(operator)
            else:
                line = self._line
                word = self._word()
                if not (word.isdecimal() and self._text[self._at : self._at + 1] in ("<", ">")):
                    yield _Token(text=word, line=line)

    def _advance(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _operator(self, operator: str) -> Iterator[_Token]:
        if operator == "(" and self._text.startswith("((", self._at):
            self._skip_arithmetic(self._at + 2)
            return
        yield _Token(text=operator, line=self._line, operator=True)
        self._advance(len(operator))
        if operator in ("<<", "<<-"):
            while self._text[self._at : self._at + 1] in (" ", "\t"):
                self._at += 1
            self._pending.append((self._word(), operator == "<<-"))
        elif operator == "\n":
            for end, tabs in self._pending:
                self._skip_document(end, tabs=tabs)
            self._pending.clear()

    def _skip_document(self, end: str, *, tabs: bool) -> None:
        while self._at < len(self._text):
            line, newline, _ = self._text[self._at :].partition("\n")
            self._advance(len(line) + len(newline))
            if (line.lstrip("\t") if tabs else line) == end:
                return

    def _word(self) -> str:
        parts: list[str] = []
        text = self._text
        while self._at < len(text) and text[self._at] not in _ENDS_WORD:
            character = text[self._at]
            if character == "'":
                end = text.find("'", self._at + 1)
                end = len(text) if end < 0 else end
                parts.append(text[self._at + 1 : end])
                self._advance(end + 1 - self._at)
            elif character == '"':
                parts.append(self._double())
            elif character == "\\":
                parts.append("" if text.startswith("\\\n", self._at) else text[self._at + 1 : self._at + 2])
                self._advance(2)
            elif character in "$`":
                parts.append(self._expansion())
            else:
                parts.append(character)
                self._at += 1
        return "".join(parts)

    def _double(self) -> str:
        parts: list[str] = []
        text = self._text
        self._at += 1
        while self._at < len(text) and text[self._at] != '"':
            if text[self._at] == "\\":
                parts.append(text[self._at + 1 : self._at + 2])
                self._advance(2)
            elif text[self._at] in "$`":
                parts.append(self._expansion())
            else:
                parts.append(text[self._at])
                self._advance(1)
        self._at += 1
        return "".join(parts)

    def _expansion(self) -> str:
        """A parameter as it is written; `$(...)` in short, with its commands in `nested`."""
        text, start = self._text, self._at
        if text.startswith("$((", start):
            self._skip_arithmetic(start + 3)
            return "$((...))"
        if text.startswith("$(", start):
            self._at += 1
            self._parentheses()
            return "$(...)"
        if text[start] == "`":
            end = start + 1
            while end < len(text) and text[end] != "`":
                end += 2 if text[end] == "\\" else 1
            self.nested.append((text[start + 1 : end].replace("\\`", "`"), self._line))
            self._advance(end + 1 - start)
            return "$(...)"
        if text.startswith("${", start):
            self._braces()
            return text[start : self._at]
        if text.startswith("$'", start):
            self._at += 1
            return ""
        self._at += 1
        return "$"

    def _braces(self) -> None:
        """To the end of `${...}`."""
        depth = 0
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\\":
                self._advance(2)
                continue
            if self._text.startswith("$(", self._at) or character == "`":
                self._expansion()
                continue
            depth += {"{": 1, "}": -1}.get(character, 0)
            self._advance(1)
            if depth == 0 and character == "}":
                return

    def _parentheses(self) -> None:
        """To the end of a group that begins here, which goes into `nested`."""
        inner = _Lexer(self._text[self._at + 1 :], self._line)
        end = _closing(inner)
        self.nested.append((inner._text[:end], self._line))
        self._advance(end + 2)

    def _skip_arithmetic(self, at: int) -> None:
        depth = 2
        while at < len(self._text) and depth:
            depth += {"(": 1, ")": -1}.get(self._text[at], 0)
            at += 1
        self._advance(at - self._at)


def _closing(lexer: _Lexer) -> int:
    """The index of the parenthesis that closes a group; `)` after the pattern of a `case` does not."""
    depth, cases, previous = 0, 0, ""
    for token in lexer.tokens():
        if token.operator:
            if token.text == "(":
                depth += 1
            elif token.text == ")" and depth:
                depth -= 1
            elif token.text == ")" and not cases:
                return lexer._at  # a token comes before the lexer passes it
        elif previous in ("", *_SEPARATORS, *_RESERVED):
            cases += {"case": 1, "esac": -1}.get(token.text, 0)
        previous = token.text
    return len(lexer._text)


def _split(tokens: Sequence[_Token], *, substituted: bool) -> Iterator[ShellCommand]:
    """The commands of a list of tokens."""
    at = 0
    in_pattern = False
    """Whether a pattern of a `case` comes next."""
    cases = 0
    while at < len(tokens):
        token = tokens[at]
        if in_pattern:
            if token.operator and token.text == ")":
                in_pattern = False
            elif token.text == "esac":
                in_pattern, cases = False, cases - 1
            at += 1
        elif token.operator and token.text in _REDIRECTIONS:
            at += 1 if token.text in ("<<", "<<-") else 2  # of a loop or a group
        elif token.operator:
            in_pattern = token.text.startswith(";;") and cases > 0
            at += 1
        elif token.text in _RESERVED:
            at += 1
        elif token.text == "case":
            at = _after(tokens, at, "in")
            in_pattern, cases = True, cases + 1
        elif token.text == "esac":
            cases -= 1
            at += 1
        elif token.text == "[[":
            at = _after(tokens, at, "]]")
        else:
            if _is_function(tokens, at):
                at += 1
                continue
            end = _end_of_command(tokens, at)
            yield replace(
                _command(tokens[at:end], substituted=substituted), guarded=_guarded(tokens, at, end)
            )
            at = end


def _after(tokens: Sequence[_Token], at: int, word: str) -> int:
    return next((index + 1 for index in range(at, len(tokens)) if tokens[index].text == word), len(tokens))


def _end_of_command(tokens: Sequence[_Token], at: int) -> int:
    for index in range(at, len(tokens)):
        token = tokens[index]
        if token.operator and token.text not in _REDIRECTIONS:
            return index
    return len(tokens)


def _guarded(tokens: Sequence[_Token], at: int, end: int) -> bool:
    before = tokens[at - 1].text if at else ""
    after = tokens[end].text if end < len(tokens) else ""
    return after == "||" or before in ("if", "elif", "while", "until", "!")


def _is_function(tokens: Sequence[_Token], at: int) -> bool:
    following = [token.text for token in tokens[at + 1 : at + 3]]
    return following == ["(", ")"] or (at > 0 and tokens[at - 1].text == "function")


def _command(tokens: Sequence[_Token], *, substituted: bool) -> ShellCommand:
    words: list[str] = []
    assignments: list[str] = []
    targets: list[str] = []
    target_next = False
    for token in tokens:
        if token.operator:
            target_next = token.text not in ("<<", "<<-")
        elif target_next:
            targets.append(token.text)
            target_next = False
        elif not words and _ASSIGNMENT.match(token.text):
            assignments.append(token.text)
        else:
            words.append(token.text)
    return ShellCommand(
        line=tokens[0].line,
        words=tuple(words),
        assignments=tuple(assignments),
        targets=tuple(targets),
        substituted=substituted,
    )


_WITH_VALUE: Final = {
    "sudo": ("-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U", "-r", "-t"),
    "env": ("-u", "-C", "-S", "--unset", "--chdir"),
    "nice": ("-n",),
    "timeout": ("-s", "-k"),
    "xargs": ("-n", "-L", "-P", "-I", "-d", "-a", "-s", "-E"),
    "chroot": (),
    "exec": ("-a",),
    "command": (),
    "nohup": (),
    "ionice": ("-c", "-n"),
    "unshare": (),
    "flock": ("-w", "-E"),
}
"""Programs that run the rest of their words, and their options that have a value."""
_POSITIONAL: Final = {"chroot": 1, "timeout": 1, "flock": 1}


def unwrapped(command: ShellCommand) -> ShellCommand:
    """What runs in the end: `sudo -E chroot $TARGET_ROOT env A=b make install` is `make install`."""
    words = list(command.words)
    while words and (name := words[0].rpartition("/")[2]) in _WITH_VALUE:
        at = 1
        while at < len(words) and (words[at].startswith("-") or _ASSIGNMENT.match(words[at])):
            at += 2 if words[at] in _WITH_VALUE[name] else 1
        at += _POSITIONAL.get(name, 0)
        if at >= len(words):
            break
        words = words[at:]
    return replace(command, words=tuple(words))
