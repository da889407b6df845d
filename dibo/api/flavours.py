"""The flavours of the search path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dibo.build import build as spine
from dibo.build import containerfile as rendering
from dibo.settings.settings import Settings


def flavour_names(settings: Settings) -> list[str]:
    """For completions: names only, nothing is read."""
    return [entry.name for entry in spine.catalogue(settings)]


def list_flavours(settings: Settings) -> str:
    """A line for each flavour, and one for each that it shadows."""
    return "\n".join(_lines(settings))


def _lines(settings: Settings) -> Iterator[str]:
    catalogue = spine.catalogue(settings)
    rows = [(entry, catalogue.get(entry.name)) for entry in catalogue]
    width = max((len(entry.name) for entry, _ in rows), default=0)
    for entry, flavour in rows:
        mark = "  [hooks on this machine]" if flavour.host_phases else ""
        yield f"{entry.name:{width}}  {flavour.summary}  ({entry.path}){mark}".replace("    (", "  (")
        for shadowed in entry.shadows:
            yield f"{'':{width}}  shadows {shadowed}"


def describe_flavours(settings: Settings, names: Sequence[str]) -> str:
    """Everything about each of `names`. Raises UnknownFlavour, FlavourError."""
    catalogue = spine.catalogue(settings)
    return "\n\n".join(
        rendering.describe_flavour(catalogue.get(name), catalogue.entry(name)) for name in names
    )
