"""Opens what users name, with their settings: caches, architecture, keys that are trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from dibo.api.conversions.opened import open_trusted
from dibo.build import ingredients_store
from dibo.contents.inventory import Inventory
from dibo.contents.read import ReadRequest, read_inventory
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.workspace import Workspace


@contextlib.contextmanager
def read_request(settings: Settings, report: Report, *, hashes: bool = False) -> Iterator[ReadRequest]:
    """What dibo.contents.read takes; valid as long as the context lasts. With `hashes`, digests of a container image
    are told while it is read."""
    workspace = Workspace(settings.cache)

    def ingredients(key: str) -> Mapping[str, Any] | None:
        return ingredients_store.load(workspace.keys, [key]).get(key)

    with workspace.run() as run:
        yield ReadRequest(
            run=run,
            report=report,
            open_image=partial(open_trusted, settings),
            ingredients=ingredients,
            hashes=hashes,
        )


def read_contents(settings: Settings, report: Report, name: str) -> Inventory:
    """What is in the image `name`. Raises as dibo.contents.read.open_contents does."""
    with read_request(settings, report) as request:
        return read_inventory(name, request)
