"""What one script of an element needs that a sandbox does not have, and what a cache does not notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dibo.elements.checks.findings import ElementFinding, Severity
from dibo.elements.checks.programs import RULES, is_outside
from dibo.elements.checks.shell_commands import ShellCommand, shell_commands, unwrapped

_ENVIRONMENT: Final = "environment.d"
_PROGRAMS: Final = "bin"
"""Programs run only where a script calls them."""
_CHANGING: Final = (
    "mktemp",
    "date",
    "uuidgen",
    "hostname",
    "curl",
    "wget",
    "git",
    "nproc",
    "uname",
    "id",
    "whoami",
)
"""Programs with other answers in each phase, or on each machine."""
_WRITING: Final = ("mkdir", "touch", "cp", "mv", "rm", "tee", "install", "ln", "dd", "sed")
_HOME: Final = re.compile(
    r"(?:~|\$HOME|\$\{HOME\})/(\.(?:ssh|aws|netrc|gnupg|docker|kube|config/openstack|git-credentials)\b)"
)
_SECRET: Final = re.compile(
    r"\$\{?(?P<name>\w*(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|PRIVATE_?KEY|API_?KEY|ACTIVATION_?KEY)\w*)",
    re.IGNORECASE,
)
_DUMPS: Final = ("DIB_ENV", "DIB_ARGS")
_DISABLED: Final = re.compile(r"^\s*# dib-lint: disable=(.+)$", re.MULTILINE)
_PYTHON_2: Final = re.compile(r"python2(\.\d+)?")
_SHELLS: Final = ("bash", "sh", "dash", "ksh")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptText:
    path: str
    """In the element: install.d/50-web."""
    text: str
    executable: bool = True

    @property
    def directory(self) -> str:
        return self.path.partition("/")[0]

    @property
    def interpreter(self) -> str:
        """The words after `#!`; empty without."""
        first = self.text.partition("\n")[0]
        return first[2:].strip() if first.startswith("#!") else ""

    @property
    def is_shell(self) -> bool:
        if self.directory == _ENVIRONMENT:
            return True
        programs = [word.rpartition("/")[2] for word in self.interpreter.split()]
        return any(program in _SHELLS for program in programs[:2])


def script_findings(script: ScriptText) -> Iterator[ElementFinding]:
    """The findings of one script."""
    yield from _first_line(script)
    if not script.is_shell:
        return
    commands = shell_commands(script.text)
    for command in commands:
        yield from _command_findings(command, script)
    yield from _secrets(script, commands)
    if script.directory == _ENVIRONMENT:
        yield from _environment(script, commands)
    elif (
        script.directory != _PROGRAMS
        and not _stops_at_failures(script, commands)
        and "sete" not in _disabled(script)
    ):
        yield ElementFinding(
            severity=Severity.WARNING,
            code="unchecked-failure",
            message="without `set -e`, a layer is kept although a command in it failed",
            advice="add `set -eu -o pipefail`",
            path=script.path,
        )


def _disabled(script: ScriptText) -> set[str]:
    return {word for match in _DISABLED.finditer(script.text) for word in match[1].split()}


def _first_line(script: ScriptText) -> Iterator[ElementFinding]:
    if script.directory == _ENVIRONMENT:
        return
    if script.text.partition("\n")[0].endswith("\r"):
        yield ElementFinding(
            severity=Severity.OBSTACLE,
            code="line-endings",
            message="the first line ends in CRLF, so no interpreter is found",
            advice="make line endings LF",
            path=script.path,
            line=1,
        )
    programs = [word.rpartition("/")[2] for word in script.interpreter.split()[:2]]
    if any(_PYTHON_2.fullmatch(program) for program in programs):
        yield ElementFinding(
            severity=Severity.OBSTACLE,
            code="python2",
            message=f"the interpreter is {script.interpreter}, which no supported distribution has",
            advice="use python3",
            path=script.path,
            line=1,
        )
    if not script.interpreter:
        yield ElementFinding(
            severity=Severity.WARNING,
            code="no-interpreter",
            message="the first line names no interpreter, so it depends on the caller what reads the script",
            advice="begin with #!/bin/bash",
            path=script.path,
            line=1,
        )


def _command_findings(command: ShellCommand, script: ScriptText) -> Iterator[ElementFinding]:
    inner = unwrapped(command)
    for rule in RULES:
        if inner.words and rule.applies(inner, script.directory):
            is_certain = not command.guarded and script.directory != _PROGRAMS
            severity = rule.severity if is_certain else Severity.WARNING
            shown = " ".join(inner.words)
            shown = shown if len(shown) <= 60 else f"{shown[:59]}…"
            yield ElementFinding(
                severity=severity,
                code=rule.code,
                message=rule.message.format(command=f"`{shown}`"),
                advice=rule.advice,
                path=script.path,
                line=command.line,
            )
            break
    declares = inner.program in ("export", "local", "declare", "readonly", "typeset")
    if declares and any(re.match(r"\w+=.*\$\(\.\.\.\)", word) for word in inner.words[1:]):
        yield ElementFinding(
            severity=Severity.WARNING,
            code="masked-failure",
            message=f"`{inner.program} NAME=$(...)` succeeds although the command in it fails",
            advice=f"assign first, then {inner.program}",
            path=script.path,
            line=command.line,
        )


def _secrets(script: ScriptText, commands: list[ShellCommand]) -> Iterator[ElementFinding]:
    known: set[str] = set()
    for command in commands:
        words = (*command.words, *command.assignments, *command.targets)
        for word in words:
            home = _HOME.search(word)
            if (
                home
                and home[1] not in known
                and (is_outside(script.directory) or script.directory == _ENVIRONMENT)
            ):
                known.add(home[1])
                yield ElementFinding(
                    severity=Severity.WARNING,
                    code="home-files",
                    message=f"reads ~/{home[1]} of the user who builds",
                    advice="layers that hold it stay on this machine; the image is another for each user",
                    path=script.path,
                    line=command.line,
                )
            for match in _SECRET.finditer(word):
                if match["name"] in known:
                    continue
                known.add(match["name"])
                yield ElementFinding(
                    severity=Severity.WARNING,
                    code="secret-variable",
                    message=f"reads {match['name']}: variables are not kept secret",
                    advice="layers that see its value stay on this machine; set it at first boot instead",
                    path=script.path,
                    line=command.line,
                )
            if any(name in word for name in _DUMPS) and "dump" not in known:
                known.add("dump")
                yield ElementFinding(
                    severity=Severity.WARNING,
                    code="environment-dump",
                    message="writes all variables of the build into the image, passwords too",
                    advice="layers that hold them stay on this machine; write only what is needed",
                    path=script.path,
                    line=command.line,
                )


def _environment(script: ScriptText, commands: list[ShellCommand]) -> Iterator[ElementFinding]:
    """environment.d is read by bash before every phase, outside and inside the image."""
    if script.executable:
        yield ElementFinding(
            severity=Severity.WARNING,
            code="environment-script",
            message="files of environment.d are sourced: the executable bit means nothing",
            advice="remove it: chmod -x",
            path=script.path,
        )
    for command in commands:
        inner = unwrapped(command)
        effect = ""
        if inner.program in _CHANGING:
            effect = "gives another value in each phase or on each machine"
        elif inner.program in _WRITING or any(
            not target.startswith(("/dev/", "&")) and not target.isdecimal() for target in command.targets
        ):
            effect = "writes files, before every phase"
        elif inner.program == "exit" and inner.words[1:] in ((), ("0",)):
            effect = "ends the phase without an error"
        elif inner.program == "set" and "-x" in inner.words:
            effect = "prints every later command, secrets too"
        if effect:
            yield ElementFinding(
                severity=Severity.WARNING,
                code="environment-effect",
                message=f"`{inner.program}` in environment.d {effect}",
                advice="only assign there, with constants; compute in a hook of extra-data.d",
                path=script.path,
                line=command.line,
            )


def _stops_at_failures(script: ScriptText, commands: list[ShellCommand]) -> bool:
    if re.search(r"\s-\w*e", script.interpreter):
        return True
    return any(
        command.program == "set"
        and any(
            word == "errexit" or re.fullmatch(r"-[a-zA-Z]*e[a-zA-Z]*", word) for word in command.words[1:]
        )
        for command in commands
    )
