"""Schemas of the values that documents of dibo have (dibo.api.json_schema), each with its description."""

from __future__ import annotations

from typing import Any

from dibo.api.documents import VERSION

Schema = dict[str, Any]


def text(description: str, **more: object) -> Schema:
    return {"type": "string", "description": description, **more}


def maybe(description: str) -> Schema:
    return {"type": ["string", "null"], "description": description}


def count(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": description}


def flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def maybe_count(description: str) -> Schema:
    return {"type": ["integer", "null"], "minimum": 0, "description": description}


def seconds(description: str) -> Schema:
    return {"type": "number", "minimum": 0, "description": description}


def maybe_seconds(description: str) -> Schema:
    return {"type": ["number", "null"], "minimum": 0, "description": description}


def one_of(description: str, *words: str) -> Schema:
    return {"type": "string", "enum": list(words), "description": description}


def texts(description: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def map_of(description: str, values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values, "description": description}


def object_of(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def list_of(description: str, properties: Schema) -> Schema:
    return {"type": "array", "items": object_of(properties), "description": description}


def document(name: str, description: str, /, **properties: Schema) -> Schema:
    head = {
        "document": {"const": name, "description": "which document this is"},
        "version": {"const": VERSION, "description": "version of this schema"},
    }
    return object_of({**head, **properties}) | {"description": description}
