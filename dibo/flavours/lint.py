"""What in a stack is allowed, and is probably not what its author meant: warnings, one line each.

- files that mean something to other builders of images, and nothing to dibo
- a distribution whose name is nearly one that dibo's bases have
- a default with a `$NAME` in it, which is not replaced
- a variable whose name speaks of a secret, and that is set
- hooks with CRLF, without an interpreter, or with variables that nothing sets (dibo.flavours.hook_lint)
- hooks that fetch what no key covers, or without a network to do so (dibo.flavours.hook_network)

A package name with `$NAME` that no flavour declares is an error, since such a step can never run.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from dibo.errors import FlavourError
from dibo.flavours.hook_lint import Sight, hook_warnings
from dibo.flavours.model import HOST_PHASES, Flavour, Phase
from dibo.flavours.secret_names import SPEAKS_OF_SECRET
from dibo.flavours.stack import Stack

OF_OTHER_BUILDERS: Final = {
    "package-installs.yaml": "list packages under `packages` in flavour.yaml",
    "package-installs.json": "list packages under `packages` in flavour.yaml",
    "element-deps": "list flavours under `needs` in flavour.yaml",
    "element-provides": "nothing takes its place",
    "pkg-map": "list packages by distribution under `packages` in flavour.yaml",
    "svc-map": "nothing takes its place",
    "source-repository-*": "list an archive of it under `fetch` in flavour.yaml",
    "static": "have an install.d hook copy files from /tmp/in_target.d/files",
    "mkosi.conf": "dibo reads no settings of mkosi",
    "mkosi.extra": "have an install.d hook copy files from /tmp/in_target.d/files",
    "Dockerfile": "write hooks",
    "Containerfile": "write hooks",
}
"""Files and directories at the top of a flavour (* for any ending), and what to do instead."""
VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
"""In the name of a package."""
_BUILT_IN: Final = "ARCH"
_DISTRIBUTIONS: Final = ("debian", "ubuntu", "default")


def lint(stack: Stack, chosen: Callable[[str], str | None]) -> tuple[str, ...]:
    """The warnings for a stack; `chosen` has the user's variables. Raises FlavourError."""
    warnings: list[str] = []
    for flavour in stack.flavours:
        _refuse_undeclared(flavour, stack)
        warnings += [*_of_other_builders(flavour), *_distributions(flavour)]
        warnings += [*_defaults(flavour), *_secrets(flavour, chosen)]
        warnings += hook_warnings(flavour, partial(_sight, flavour, stack))
    return tuple(warnings)


def _sight(flavour: Flavour, stack: Stack, phase: Phase) -> Sight:
    """Which declared variables hooks of a phase see: on the host those of the whole stack, at first boot none."""
    declared = {name: owner.name for owner in stack.flavours for name, _ in owner.environment}
    if phase in HOST_PHASES:
        seen = set(declared)
    elif phase is Phase.FIRST_BOOT:
        seen = set()
    else:
        providers = (*stack.needed_by(flavour.name), flavour.name)
        seen = {name for provider in providers for name, _ in stack.get(provider).environment}
    others = {name: owner for name, owner in declared.items() if name not in seen}
    return Sight(seen=frozenset(seen), others=others)


def _refuse_undeclared(flavour: Flavour, stack: Stack) -> None:
    seen = (*(stack.get(name) for name in stack.needed_by(flavour.name)), flavour)
    declared = {_BUILT_IN, *(name for provider in seen for name, _ in provider.environment)}
    for distribution, words in flavour.packages:
        for word in words:
            for match in VARIABLE.finditer(word):
                name = match[1] or match[2]
                if name not in declared:
                    close = difflib.get_close_matches(name, declared, n=1)
                    raise FlavourError(
                        f"the flavour {flavour.name!r}: packages.{distribution}: {word!r} has the variable {name}, "
                        f"which it does not declare" + (f"; did you mean {close[0]}?" if close else ""),
                        hint="declare it under `environment` in flavour.yaml, or under that of a flavour it needs",
                    )


def _of_other_builders(flavour: Flavour) -> Iterator[str]:
    tops = {file.path.partition("/")[0] for file in flavour.files}
    for pattern, instead in OF_OTHER_BUILDERS.items():
        prefix, star, _ = pattern.partition("*")
        names = sorted(top for top in tops if top == pattern or (star and top.startswith(prefix)))
        if names:
            yield f"the flavour {flavour.name!r} has {', '.join(names)}, which dibo does not read: {instead}"


def _distributions(flavour: Flavour) -> Iterator[str]:
    for distribution, _ in flavour.packages:
        name = distribution.partition("-")[0]
        close = difflib.get_close_matches(name, _DISTRIBUTIONS, n=1, cutoff=0.75)
        if close and close[0] != name:
            yield (
                f"the flavour {flavour.name!r} lists packages for {distribution!r}; "
                f"did you mean {distribution.replace(name, close[0], 1)!r}?"
            )


def _defaults(flavour: Flavour) -> Iterator[str]:
    for name, default in flavour.environment:
        if match := VARIABLE.search(default):
            yield (
                f"the default of {name} in the flavour {flavour.name!r} has {match[0]}, which dibo does not replace: "
                "hooks read it as it is written"
            )


def _secrets(flavour: Flavour, chosen: Callable[[str], str | None]) -> Iterator[str]:
    """Of a flavour that is local everything stays on this machine anyway."""
    for name, _ in flavour.environment if not flavour.local else ():
        if SPEAKS_OF_SECRET.search(name) and chosen(name):
            yield (
                f"the variable {name} of the flavour {flavour.name!r} may be a secret, and variables are not kept "
                "secret: `secrets` in flavour.yaml are"
            )
