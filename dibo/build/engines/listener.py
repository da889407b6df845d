"""Tells the runner's marks from the hooks' output, whatever engine carries them.

The runner (containerfiles/runner) writes lines that begin with the ASCII record separator: which hook runs, what the
end of the step does, a note;
the engine adds what it does beside, and the exit code of a step that failed. All else is the hooks'.
"""

from __future__ import annotations

import json
import re
from typing import Final

from dibo.build.engine import StepRun
from dibo.build.engines.step_log import StepLog
from dibo.errors import HookFailed
from dibo.flavours.model import Phase
from dibo.system import process

MARK: Final = "\036"
_CODE: Final = re.compile(r"-?[0-9]{1,3}", re.ASCII)
_OF_ENGINE: Final = 125  # what `buildah run` and `docker run` end with where they could not start the command

_MOST_PACKAGES: Final = 8  # that an error names


class BuildListener:
    """Takes the output of a step: passes its lines on, writes the log, remembers what an error says later."""

    def __init__(self, step: StepRun, *, noise: re.Pattern[str] | None = None) -> None:
        """`noise` is what the engine itself says after a command that failed."""
        self._step = step
        self._noise = noise
        self._hook, self._at_end = "", False
        self._code = 1
        self._lines: list[str] = []
        self.begun = False
        """Whether private_input.READER ran: what failed before is the engine's."""

    def handle(self, line: str, log: StepLog) -> None:
        line = self._step.mask(line)
        if not line.startswith(MARK):
            log.write(line)
            self._lines = [*self._lines[-2 * process.TAIL_LINES :], line]
            self._step.on_output(line)
            return
        kind, _, value = line[1:].partition(" ")
        if kind == "begin":
            self.begun = True
            return
        if kind == "stage":
            self._step.on_stage(value)
            return
        log.write(f"--- {kind} {value}")
        if kind in ("hook", "end"):
            self._hook, self._lines, self._at_end = value, [], kind == "end"
            self._step.on_hook(value)
        elif kind == "failed" and _CODE.fullmatch(value):  # else a hook wrote it
            self._code = int(value)
        elif kind == "note":
            self._step.on_output(value)

    @property
    def failed_to_start(self) -> bool:
        """Whether a step that began with private_input.READER never came to it."""
        return self._code == _OF_ENGINE and not self.begun

    def failed(self) -> HookFailed:
        """The error of the step whose output this was."""
        lines = self._lines
        while lines and self._noise is not None and self._noise.match(lines[-1]):
            lines = lines[:-1]
        hint = [f"| {line}" for line in lines[-process.TAIL_LINES :]]
        hint.append(f"log: {self._step.log}")
        return HookFailed(
            f"{self._what_failed()} {process.describe_exit(self._code)}",
            hint="\n".join(hint),
        )

    def _what_failed(self) -> str:
        """As the subject of a sentence."""
        step = self._step.planned.step
        of_flavour = f"of flavour {step.flavour!r}" if step.flavour else ""
        if not self._hook:
            return f"preparing the step {step.title!r}"
        if self._at_end and step.flavour:
            return f"{self._hook} at the end of the step {step.title!r}"
        if step.element is not None:
            return f"the script {self._hook} in {step.phase} of elements"
        if step.packages:
            return f"installing the packages {of_flavour} ({self._packages()})"
        if step.phase == Phase.FIRST_BOOT:
            return f"copying the first-boot hooks {of_flavour}"
        if not step.flavour:
            return f"the part {self._hook} of dibo's step {step.title!r}"
        return f"the hook {self._hook} {of_flavour} in {step.phase}"

    def _packages(self) -> str:
        """Those that the step names, for whichever distribution."""
        by_distribution = json.loads(self._step.planned.ingredients)["packages"]
        words = list(dict.fromkeys(word for _, listed in by_distribution for word in listed))
        return ", ".join(words[:_MOST_PACKAGES]) + (", …" if len(words) > _MOST_PACKAGES else "")
