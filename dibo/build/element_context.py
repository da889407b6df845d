"""What a step of elements sees: the directory that is mounted read-only at /run/dibo while it runs.

hooks/                     of the merged tree, what the step sees; scripts see it, with what earlier steps added, at
                           /tmp/in_target.d, outside of the image at /build.dib/hooks
elements/NAME/…            files of single elements, for scripts outside: at /build.dib/elements/NAME
granted/N                  files of the user's
.elements/…                the scripts that run elements (containerfiles/elements/runner)
.dibo/…                    those that run flavours, and .dibo/step: what this step is
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dibo.elements.model import Element
from dibo.elements.stack import MixedStack
from dibo.elements.steps import TRACE, ElementStep
from dibo.errors import FlavourError
from dibo.flavours.files import clone_files, copy_files
from dibo.flavours.model import FlavourFile
from dibo.plan.recipe import Recipe, Step

ELEMENT_MOUNT: Final = "/run/dibo"
UNSEEN_NAME: Final = "image"
"""The name of the image, for scripts that do not depend on it."""


def stage_element(step: Step, recipe: Recipe, target: Path) -> None:
    """Have in `target` what the step sees of elements. Raises FlavourError."""
    assert step.element is not None
    assert isinstance(recipe.stack, MixedStack)
    elements = {element.name: element for element in recipe.stack.elements}
    (target / "hooks").mkdir()
    for name, element in elements.items():
        files = [hook.file for hook in step.element.hooks if hook.element == name]
        _place(element, files, target / "hooks")
    for name, sources in step.element.sources:
        _place(elements[name], sources, target / "elements" / name)
    _place_granted(step.element, target / "granted")


def describe_element(step: ElementStep) -> Mapping[str, str]:
    """What the runner is told, by the names of files."""
    exports = {"IMAGE_NAME": UNSEEN_NAME, **dict(step.variables)} | (
        {TRACE: step.trace} if step.trace else {}
    )
    contents = {
        "phase": f"{step.phase}\n",
        "after": f"{step.after}\n" if step.after else "",
        "until": f"{step.until}\n" if step.until else "",
        "environment": "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in sorted(exports.items())
        ),
        "elements": "".join(f"{name}\n" for name in step.elements if step.sources),
        "granted": "".join(f"{number}\t{file.target}\n" for number, file in enumerate(step.granted)),
    }
    if step.fstab:
        contents["fstab"] = step.fstab
    return contents | ({"packages": f"{' '.join(step.packages)}\n"} if step.packages else {})


def _place(element: Element, files: Iterable[FlavourFile], target: Path) -> None:
    if element.copy is not None:
        clone_files(element.copy, files, target)
    else:
        copy_files(element.origin, files, target)


def _place_granted(step: ElementStep, target: Path) -> None:
    if not step.granted:
        return
    target.mkdir()
    for number, file in enumerate(step.granted):
        content = file.origin.read_bytes()
        if hashlib.sha256(content).hexdigest() != file.digest:
            raise FlavourError(f"{file.origin} changed while dibo was building", hint="run the command again")
        (target / str(number)).write_bytes(content)
