"""The JSON schemas of the files that dibo reads and writes."""

from __future__ import annotations

import json

from dibo.api.json_schema import JSON_SCHEMA
from dibo.artefacts.manifest_schema import MANIFEST_SCHEMA
from dibo.flavours.schema import SCHEMA
from dibo.layout.schema import LAYOUT_SCHEMA
from dibo.trust.policy import POLICY_SCHEMA


def schema(file: str) -> str:
    """That of a `flavour`, a `layout`, a `manifest`, a `policy`, or of what commands print with --json."""
    schemas = {
        "flavour": SCHEMA,
        "layout": LAYOUT_SCHEMA,
        "manifest": MANIFEST_SCHEMA,
        "policy": POLICY_SCHEMA,
        "json": JSON_SCHEMA,
    }
    return json.dumps(schemas[file], indent=2)
