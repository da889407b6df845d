"""What environment.d sets a variable to, as far as that is known before a script runs.

Files are read in the order in which they are sourced. A line that begins with NAME=VALUE, or `export NAME=VALUE`, is
read if no command and no machine is needed to expand it; what else is said of a variable only bash can tell.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.elements.hooks import merge_hooks, sort_key
from dibo.elements.model import ENVIRONMENT, Element
from dibo.elements.shell_text import NeedsShell, UnsetVariable, expand_words
from dibo.errors import FlavourError

_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementEnvironment:
    values: Mapping[str, str]
    computed: Mapping[str, str]
    """Where variables are set in a way that only bash can tell: `ELEMENT/environment.d/FILE:LINE` by name."""

    def get(self, name: str) -> str:
        """The value, or nothing where the variable is not set. Raises FlavourError where only bash can tell."""
        if name in self.computed:
            raise FlavourError(
                f"{self.computed[name]} computes {name}, which is needed before any script runs",
                hint=f"set {name} yourself",
            )
        return self.values.get(name, "")


def read_environment(
    elements: Iterable[Element], *, names: Collection[str], environment: Mapping[str, str]
) -> ElementEnvironment:
    """The variables after environment.d of `elements`, of which those in `names` are asked for. `environment` is what
    there is before; its variables stand where only bash can tell another value. Raises StackError."""
    elements = tuple(elements)
    directories = {element.name: element.directory for element in elements}
    values = dict(environment)
    computed: dict[str, str] = {}
    files = [hook for hook in merge_hooks(elements) if hook.path.startswith(f"{ENVIRONMENT}/")]
    for hook in sorted(files, key=lambda hook: sort_key(hook.path.partition("/")[2])):
        text = (directories[hook.element] / hook.path).read_text(errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            place = f"{hook.element}/{hook.path}:{number}"
            for name, value in _assigned(line, names, values).items():
                if value is not None:
                    values[name] = value
                    computed.pop(name, None)
                elif name not in environment:
                    computed[name] = place
    return ElementEnvironment(values=values, computed=computed)


def _assigned(line: str, names: Collection[str], values: Mapping[str, str]) -> dict[str, str | None]:
    """What a line sets; None for a value that only bash can tell."""
    match = _ASSIGNMENT.fullmatch(line)
    if match is not None:
        try:
            words = expand_words(match["value"], values)
        except (NeedsShell, UnsetVariable):
            return {match["name"]: None}
        if len(words) <= 1:
            return {match["name"]: "".join(words)}
    code = line.lstrip()
    return {name: None for name in names if not code.startswith("#") and re.search(rf"\b{name}=", code)}
