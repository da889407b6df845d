"""What a step sees: the directory that is mounted read-only at /tmp/in_target.d while it runs.

    install.d/10-web  files/…      the step's own flavour
    flavours/NAME/…                each flavour that it needs
    fetched/…                      what was fetched for the flavour; for others, flavours/NAME/fetched/…
    ssh-authorized-keys            what extra-data.d hooks of all of these made
    .dibo/run .dibo/bin/…          the scripts that run hooks (containerfiles/runner)
    .dibo/step/…                   what this step is: phase, hooks, packages, environment, time

It holds what the step's key covers, byte for byte, and nothing else: modes are 0644 or 0755, or, of extra data that is
for its owner alone, 0600 or 0700. Files come from dibo's own copies, which were taken when they were hashed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from dibo.build.element_context import ELEMENT_MOUNT, describe_element, stage_element
from dibo.errors import FlavourError
from dibo.flavours.files import clone_files, copy_files, read_tree
from dibo.flavours.lint import VARIABLE
from dibo.flavours.model import FETCHED, FlavourFile, Phase, is_seen
from dibo.plan import keys
from dibo.plan.recipe import FINALISE, Recipe, Step
from dibo.system import resources

MOUNT = "/tmp/in_target.d"  # noqa: S108 (inside the root)
FINALISE_MOUNT = "/mnt"


class Runner:
    """The scripts that run steps, and the digest that keys hold of them."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or resources.shared("containerfiles") / "runner"
        self.files = read_tree(self.directory)
        document = {"files": [[file.path, file.executable, file.digest] for file in self.files]}
        self.digest = hashlib.sha256(keys.canonical(document).encode()).hexdigest()


class ElementRunner(Runner):
    """The same of those that run elements."""

    def __init__(self) -> None:
        super().__init__(resources.shared("containerfiles") / "elements" / "runner")


class ExtraFiles:
    """What extra-data.d hooks made: for each flavour, a directory of dibo's own and the files in it, as values."""

    def __init__(self, made: Mapping[str, tuple[Path, tuple[FlavourFile, ...]]] | None = None) -> None:
        self._made = dict(made or {})

    @property
    def values(self) -> dict[str, tuple[FlavourFile, ...]]:
        return {name: files for name, (_, files) in self._made.items()}

    def seen_in(self, phase: Phase, flavour: str) -> tuple[FlavourFile, ...]:
        """Those of a flavour's that steps of a phase see."""
        return tuple(file for file in self.values.get(flavour, ()) if is_seen(file.path, phase))

    def place(self, flavour: str, files: Iterable[FlavourFile], target: Path) -> None:
        """Have some of a flavour's files in `target`."""
        if flavour in self._made:
            clone_files(self._made[flavour][0], files, target)


def mount_point(step: Step) -> str:
    """Where the step's context is mounted in the root."""
    if step.element is not None:
        return ELEMENT_MOUNT
    return FINALISE_MOUNT if step.phase == FINALISE else MOUNT


def command(step: Step) -> tuple[str, ...]:
    """What runs the step, once its context is mounted."""
    if step.element is not None:
        return (f"{ELEMENT_MOUNT}/.elements/{'outside' if step.is_outside else 'inside'}",)
    script = "finalise" if step.phase == FINALISE else "run"
    return (f"{mount_point(step)}/.dibo/{script}",)


def stage(
    step: Step, recipe: Recipe, *, runner: Runner, extra: ExtraFiles, time: int | None, target: Path
) -> None:
    """Fill `target`, an empty directory. `time`, in seconds since 1970, is the latest that anything in the layer may
    have; None for as it comes. Raises FlavourError."""
    target.chmod(0o755)
    _refuse_reserved(step, recipe, extra)
    copy_files(runner.directory, runner.files, target / ".dibo")
    _describe(step, recipe, time, target / ".dibo" / "step")
    if step.element is not None:
        copy_files(ElementRunner().directory, ElementRunner().files, target / ".elements")
        stage_element(step, recipe, target)
    if not step.flavour:
        return
    for name in step.seen:
        flavour = recipe.stack.get(name)
        place = target if name == step.flavour else target / "flavours" / name
        files = flavour.seen_in(Phase(step.phase))
        if flavour.copy is not None:
            clone_files(flavour.copy, files, place)
        else:
            copy_files(flavour.origin, files, place)
    _stage_extra(step, extra, target)


def _refuse_reserved(step: Step, recipe: Recipe, extra: ExtraFiles) -> None:
    """Names at the top of the context that are dibo's."""
    if not step.seen:
        return
    phase = Phase(step.phase)
    own = recipe.stack.get(step.flavour).seen_in(phase)
    made = [file for name in step.seen for file in extra.seen_in(phase, name)]
    for file in (*own, *made):
        top = file.path.partition("/")[0]
        is_fetched = top == FETCHED and step.flavour in dict(step.fetched)
        if top == ".dibo" or (top == "flavours" and step.visible) or is_fetched:
            raise FlavourError(
                f"{file.path} of the flavour {step.flavour!r} cannot be seen by its hooks: {MOUNT}/{top} is dibo's",
                hint="give it another name",
            )


def _stage_extra(step: Step, extra: ExtraFiles, target: Path) -> None:
    """Extra data may take the place of files of the flavour whose hook made it, and of nothing else."""
    made: dict[str, str] = {}
    for name in step.seen:
        files = extra.seen_in(Phase(step.phase), name)
        for file in files:
            copy = target / file.path
            taken = made.get(file.path) or (
                step.flavour if name != step.flavour and _is_there(copy) else None
            )
            if taken is not None:
                raise FlavourError(
                    f"{file.path}, which an extra-data.d hook of {name!r} made, is also in {taken!r}",
                    hint="they are seen in one place; let one of them use another name",
                )
            made[file.path] = name
            if copy.is_file() or copy.is_symlink():
                copy.unlink()
        try:
            extra.place(name, files, target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise FlavourError(
                f"extra-data.d hooks of {name!r} made something that is a file here and a directory there: "
                f"{error.filename}",
                hint="all extra data is seen in one place; let one of them use another name",
            ) from error


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _describe(step: Step, recipe: Recipe, time: int | None, directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    contents = _description(step, recipe) if step.flavour else {}
    if step.element is not None:
        contents = dict(describe_element(step.element))
    if recipe.chosen:
        contents["chosen"] = ""
    if time is not None:
        contents["time"] = f"{time}\n"
    for name, text in contents.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)
    if time is not None:
        os.utime(directory / "time", (time, time))  # the runner compares files with it


def _description(step: Step, recipe: Recipe) -> dict[str, str]:
    """What the runner is told, by the names of files."""
    variables = {"ARCH": recipe.architecture, **dict(step.environment)}
    if step.flavour in dict(step.fetched):
        variables["DIBO_FETCHED"] = f"{MOUNT}/{FETCHED}"
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    contents = {
        "phase": f"{step.phase}\n",
        "flavour": f"{step.flavour}\n",
        "hooks": "".join(f"{name}\n" for name in step.hooks),
        "environment": "".join(lines),
    }
    if not step.network:
        contents["network"] = "none\n"
    if step.phase == Phase.FIRST_BOOT:
        contents["place"] = f"{step.place:03}\n"
    if step.packages:
        contents["packages"] = "".join(
            f"{distribution}\t{' '.join(substitute(words, variables))}\n"
            for distribution, words in recipe.stack.get(step.flavour).packages
        )
    return contents


def substitute(words: tuple[str, ...], variables: Mapping[str, str]) -> list[str]:
    """Package names with `$NAME` and `${NAME}` replaced; what becomes empty is left out. Raises FlavourError."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in variables:
            raise FlavourError(
                f"packages: {match[0]} is no variable that the flavour declares",
                hint="declare it under `environment` in flavour.yaml",
            )
        return variables[name]

    return [word for template in words for word in VARIABLE.sub(value, template).split()]
