"""Flavours for tests: on disk, as their authors write them, and read by dibo's own loader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from dibo.flavours.loader import Catalogue
from dibo.flavours.model import HOOK_NAME, Flavour
from dibo.flavours.stack import Stack, make_stack
from dibo.plan.recipe import Recipe, make_recipe

HOOK = "#!/bin/sh\n"


def write_flavour(
    directory: Path, name: str, files: Mapping[str, str] | Iterable[str] = (), *, yaml: str = ""
) -> Path:
    """A flavour in `directory`. `files` are paths, with contents or as paths alone; hooks become executable."""
    flavour = directory / name
    contents = files if isinstance(files, Mapping) else dict.fromkeys(files, HOOK)
    for path, text in {"README.md": f"# {name}\n", **contents}.items():
        target = flavour / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if HOOK_NAME.fullmatch(target.name) else 0o644)
    if yaml:
        (flavour / "flavour.yaml").write_text(yaml)
    return flavour


def read_stack(directory: Path, *asked: str, architecture: str = "amd64") -> Stack:
    return make_stack(asked, Catalogue([directory]).get, architecture=architecture)


def read_recipe(directory: Path, *asked: str, architecture: str = "amd64", **chosen: str) -> Recipe:
    """The recipe for `asked`; `chosen` are the user's variables."""
    stack = read_stack(directory, *asked, architecture=architecture)
    return make_recipe(stack, architecture=architecture, environment=stack.environment(chosen.get))


def titles(recipe: Recipe) -> list[str]:
    return [step.title for step in recipe.steps]


def flavour(name: str, **values: object) -> Flavour:
    """A flavour that is on no disk."""
    return Flavour(name=name, origin=Path("/nowhere") / name, **values)  # type: ignore[arg-type]
