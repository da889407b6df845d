"""The base `empty`: no file at all. Elements of diskimage-builder that make the root themselves start from it."""

from __future__ import annotations

from dibo.build.bases.settings import ConfiguredBase
from dibo.plan.base import Ingredients, TarCommand


class Empty(ConfiguredBase):
    """A root without files."""

    @property
    def name(self) -> str:
        return "empty"

    @property
    def tools(self) -> tuple[str, ...]:
        return ("tar",)

    def ingredients(self) -> Ingredients:
        return (("kind", "empty"),)

    def source(self) -> TarCommand:
        return TarCommand(argv=("tar", "--create", "--file=-", "--files-from=/dev/null"))
