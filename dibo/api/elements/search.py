"""Elements of the search path: `dibo elements list` and `show`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.elements.checks.check import own_elements, read_names
from dibo.elements.checks.files import PHASES, element_scripts
from dibo.errors import UnknownFlavour, UsageError
from dibo.system import resources

VARIABLE: Final = "ELEMENTS_PATH"
_DATA: Final = (
    *("bin", "environment.d", "static", "init-scripts", "package-installs.yaml", "package-installs.json"),
    *("pkg-map", "svc-map"),
)
"""Parts of an element beside its phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundElement:
    """An element on the search path."""

    name: str
    path: Path
    shadows: tuple[Path, ...]
    """Elements of the same name in later directories."""
    replaced: str = ""
    """What dibo does in its place; empty if nothing."""

    @property
    def needs(self) -> tuple[str, ...]:
        return read_names(self.path / "element-deps")

    @property
    def provides(self) -> tuple[str, ...]:
        return read_names(self.path / "element-provides")

    def document(self) -> Document:
        scripts: dict[str, list[str]] = {phase: [] for phase in PHASES}
        for script in element_scripts(self.path):
            if script.directory in scripts:
                scripts[script.directory].append(script.path.partition("/")[2])
        return {
            "name": self.name,
            "path": str(self.path),
            "shadows": [str(path) for path in self.shadows],
            "needs": list(self.needs),
            "provides": list(self.provides),
            "replaced": self.replaced,
            "scripts": {phase: names for phase, names in scripts.items() if names},
            "data": [*(name for name in _DATA if (self.path / name).exists()), *self._more()],
        }

    def _more(self) -> Iterator[str]:
        for pattern in ("source-repository-*", "block-device-*.yaml"):
            yield from sorted(path.name for path in self.path.glob(pattern))


def elements_path(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The directories of ELEMENTS_PATH. Raises UsageError for one that is none."""
    paths = tuple(Path(word) for word in environment.get(VARIABLE, "").split(":") if word)
    for path in paths:
        if not path.is_dir():
            raise UsageError(
                f"{VARIABLE}: {path} is not a directory",
                hint="it holds directories of elements, separated by colons",
            )
    return paths


def replaced_elements() -> dict[str, str]:
    """Elements in whose place dibo has its own of the same name, with what that does."""
    return own_elements(resources.shared("containerfiles") / "elements" / "own")


def find_elements(paths: Sequence[Path]) -> dict[str, FoundElement]:
    """The elements in `paths`, by name, sorted; the first of a name counts."""
    places: dict[str, list[Path]] = {}
    for directory in paths:
        for path in sorted(directory.iterdir()):
            if path.is_dir() and not path.name.startswith((".", "__")):
                places.setdefault(path.name, []).append(path.absolute())
    replaced = replaced_elements()
    return {
        name: FoundElement(
            name=name, path=copies[0], shadows=tuple(copies[1:]), replaced=replaced.get(name, "")
        )
        for name, copies in sorted(places.items())
    }


def list_elements(environment: Mapping[str, str]) -> CommandAnswer:
    """A line for each element. Raises UsageError without a search path."""
    elements = find_elements(_required_path(environment))
    width = max(map(len, elements), default=0)
    lines: list[str] = []
    for element in elements.values():
        words = [f"{element.name:{width}}", f"({element.path})"]
        if element.provides:
            words.append(f"provides {', '.join(element.provides)}")
        if element.replaced:
            words.append("[replaced by dibo's own]")
        lines += ["  ".join(words), *(f"{'':{width}}  shadows {path}" for path in element.shadows)]
    return CommandAnswer(text="\n".join(lines), document=_document(elements.values()))


def show_elements(names: Sequence[str], environment: Mapping[str, str]) -> CommandAnswer:
    """Everything about each of `names`. Raises UsageError, UnknownFlavour."""
    elements = find_elements(_required_path(environment))
    chosen = []
    for name in names:
        if name not in elements:
            similar = difflib.get_close_matches(name, elements, n=1)
            suggestion = f"; did you mean {similar[0]!r}?" if similar else ""
            raise UnknownFlavour(
                f"there is no element {name!r}{suggestion}",
                hint=f"{VARIABLE} is {environment.get(VARIABLE)}; `dibo elements list` lists all",
            )
        chosen.append(elements[name])
    text = "\n\n".join("\n".join(_described(element, elements)) for element in chosen)
    return CommandAnswer(text=text, document=_document(chosen))


def _required_path(environment: Mapping[str, str]) -> tuple[Path, ...]:
    paths = elements_path(environment)
    if not paths:
        raise UsageError(f"{VARIABLE} is not set", hint=f"export {VARIABLE}=DIR:DIR, directories of elements")
    return paths


def _described(element: FoundElement, elements: Mapping[str, FoundElement]) -> Iterator[str]:
    document = element.document()
    yield element.name
    yield f"  path      {element.path}"
    for path in element.shadows:
        yield f"  shadows   {path}"
    if element.replaced:
        yield f"  replaced  {element.replaced}"
    if element.provides:
        yield f"  provides  {', '.join(element.provides)}"
    if element.needs:
        yield f"  needs     {', '.join(element.needs)}"
    replaced = replaced_elements()
    missing = [name for name in element.needs if name not in elements and name not in replaced]
    provided = {name for one in elements.values() for name in one.provides} if missing else set()
    missing = [name for name in missing if name not in provided]
    if missing:
        yield f"  missing   {', '.join(missing)}"
    for phase, names in document["scripts"].items():
        yield f"  {phase}: {', '.join(names)}"
    if document["data"]:
        yield f"  data      {', '.join(document['data'])}"


def _document(elements: Iterable[FoundElement]) -> Document:
    return new_document("elements", elements=[element.document() for element in elements])
