"""The flavours of the search path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.build import build as spine
from dibo.build import containerfile as rendering
from dibo.errors import DiboError
from dibo.flavours.loader import CatalogueEntry
from dibo.flavours.model import NAME_FORM, NETWORK_PHASES, Flavour
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.report import Report


def flavour_names(settings: Settings) -> list[str]:
    """For completions: names only, nothing is read."""
    return [entry.name for entry in spine.catalogue(settings)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenFlavour:
    """A flavour that cannot be read, and why."""

    entry: CatalogueEntry
    error: DiboError


def list_flavours(settings: Settings, report: Report) -> tuple[CommandAnswer, DiboError | None]:
    """A line for each flavour, with its directory if it does not come with dibo, and one for each that it shadows; and
    the first error of those that cannot be read."""
    catalogue = spine.catalogue(settings)
    for path in catalogue.misnamed():
        report.warn(f"{path} cannot be a flavour: its name {path.name!r} is not allowed; {NAME_FORM}")
    rows: list[tuple[CatalogueEntry, Flavour]] = []
    broken: list[BrokenFlavour] = []
    for entry in catalogue:
        try:
            rows.append((entry, catalogue.get(entry.name)))
        except DiboError as error:
            broken.append(BrokenFlavour(entry=entry, error=error))
    lines = [
        *_lines(rows),
        *(f"{flavour.entry.name}  cannot be read: {flavour.error.message}" for flavour in broken),
    ]
    answer = CommandAnswer(text="\n".join(lines), document=_document(rows, broken))
    return answer, broken[0].error if broken else None


def describe_flavours(settings: Settings, names: Sequence[str]) -> CommandAnswer:
    """Everything about each of `names`. Raises UnknownFlavour, FlavourError."""
    catalogue = spine.catalogue(settings)
    rows = [(catalogue.entry(name), catalogue.get(name)) for name in names]
    text = "\n\n".join(rendering.describe_flavour(flavour, entry) for entry, flavour in rows)
    return CommandAnswer(text=text, document=_document(rows))


def _lines(rows: Sequence[tuple[CatalogueEntry, Flavour]]) -> Iterator[str]:
    width = max((len(entry.name) for entry, _ in rows), default=0)
    built_in = resources.shared("flavours")
    for entry, flavour in rows:
        phases = ", ".join(flavour.host_phases)
        directory = "" if entry.path.parent == built_in else f"({entry.path})"
        mark = f"[runs hooks on this machine: {phases}]" if phases else ""
        yield "  ".join(filter(None, (f"{entry.name:{width}}", flavour.summary, directory, mark)))
        for shadowed in entry.shadows:
            yield f"{'':{width}}  shadows {shadowed}"


def _document(
    rows: Sequence[tuple[CatalogueEntry, Flavour]], broken: Sequence[BrokenFlavour] = ()
) -> Document:
    flavours = [
        {
            "name": flavour.name,
            "summary": flavour.summary,
            "path": str(entry.path),
            "shadows": [str(path) for path in entry.shadows],
            "needs": list(flavour.needs),
            "clashes": list(flavour.clashes),
            "architectures": list(flavour.architectures),
            "packages": {distribution: list(words) for distribution, words in flavour.packages},
            "environment": dict(flavour.environment),
            "fetch": [
                {
                    "name": file.name,
                    "sha256": file.sha256,
                    "urls": list(file.urls),
                    "architectures": list(file.architectures),
                }
                for file in flavour.fetch
            ],
            "network": [phase for phase in NETWORK_PHASES if flavour.may_use_network(phase)],
            "secrets": [secret.name for secret in flavour.secrets],
            "local": flavour.local,
            "hooks": [hook.path for hook in flavour.hooks],
            "host_phases": [str(phase) for phase in flavour.host_phases],
            "data": list(flavour.data),
        }
        for entry, flavour in rows
    ]
    unreadable = [
        {"name": flavour.entry.name, "path": str(flavour.entry.path), "why": flavour.error.message}
        for flavour in broken
    ]
    return new_document("flavours", flavours=flavours, broken=unreadable)
