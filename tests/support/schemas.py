"""Documents and the schemas that they must fit. A schema is checked against its own once, and not for each document."""

from __future__ import annotations

from typing import Any

import jsonschema

_VALIDATORS: dict[int, tuple[object, Any]] = {}
"""By the identity of a schema, which stays as long as it is here."""


def validate(document: object, schema: Any) -> None:
    """Raises jsonschema.ValidationError, and SchemaError for what is no schema."""
    if id(schema) not in _VALIDATORS:
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
        _VALIDATORS[id(schema)] = schema, kind(schema)
    _, validator = _VALIDATORS[id(schema)]
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        raise error
