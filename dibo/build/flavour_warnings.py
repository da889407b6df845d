"""What is probably not meant in the flavours of a stack, and in the variables of a project file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from dibo.elements.stack import MixedStack
from dibo.flavours.lint import lint
from dibo.flavours.schema import nearest
from dibo.flavours.stack import Stack
from dibo.settings.settings import Settings
from dibo.settings.variables import RAMDISK_VARIABLES, VARIABLES
from dibo.system.report import Report


def warn_of_flavours(settings: Settings, stack: Stack, report: Report) -> None:
    """Each warning is reported once. Raises FlavourError for a hook that can never run."""
    notes = stack.notes if isinstance(stack, MixedStack) else ()
    for warning in (*lint(stack, settings.environment.get), *_undeclared(settings, stack), *notes):
        report.warn(warning)


def _undeclared(settings: Settings, stack: Stack) -> Iterator[str]:
    """Variables of a project file that reach no hook. Of those that other images inherit, too, only what is nearly the
    name of one that does. Names that begin with DIBO_ may be those of a converter."""
    if isinstance(stack, MixedStack):
        return  # whose scripts read any variable
    declared = tuple(stack.environment(settings.environment.get))
    of_dibo = (*VARIABLES, *RAMDISK_VARIABLES)
    for variable in settings.project_variables:
        name, is_unsure = variable.name, variable.inherited or variable.name.startswith("DIBO_")
        if name in declared or name in of_dibo:
            continue
        known = of_dibo if name.startswith("DIBO_") else declared
        if not is_unsure or difflib.get_close_matches(name, known, cutoff=0.85):
            yield f"{variable.place}: no flavour of the image declares it{nearest(name, known)}"
