"""The JSON schemas of the files that dibo reads and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from dibo.api.json_schema import JSON_SCHEMA
from dibo.artefacts.manifest_schema import MANIFEST_SCHEMA
from dibo.flavours.schema import SCHEMA
from dibo.layout.schema import LAYOUT_SCHEMA
from dibo.projects.schema import PROJECT_SCHEMA
from dibo.trust.policy import POLICY_SCHEMA

SCHEMAS: Final[Mapping[str, Mapping[str, object]]] = {
    "flavour": SCHEMA,
    "layout": LAYOUT_SCHEMA,
    "project": PROJECT_SCHEMA,
    "manifest": MANIFEST_SCHEMA,
    "policy": POLICY_SCHEMA,
    "json": JSON_SCHEMA,
}


def schema(file: str) -> str:
    """That of a `flavour`, a `layout`, a `project`, a `manifest`, a `policy`, or of what commands print with --json."""
    return json.dumps(SCHEMAS[file], indent=2)
