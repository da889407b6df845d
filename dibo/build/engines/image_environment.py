"""The environment in the config of an image, which is untrusted (OCI image specification, config.md)."""

from __future__ import annotations

from collections.abc import Iterable

from dibo.errors import ImageError


def variables_of(words: Iterable[str], image: str) -> dict[str, str]:
    """The variables in `words`, each `NAME=VALUE`; others are left out, as programs do. `image` is named in the error.

    No process can have a variable with a NUL. It would end an argument of bwrap, and begin another that the image
    chose. Raises ImageError."""
    variables = {}
    for word in words:
        name, is_set, value = word.partition("=")
        if "\0" in word:
            shown = name.partition("\0")[0]
            raise ImageError(
                f"{image}: its config has an environment variable with a NUL byte: {shown!r}",
                hint="no program can be started with it; ask the image's maintainer for a corrected one",
            )
        if is_set and name:
            variables[name] = value
    return variables
