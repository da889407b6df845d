"""dibo as a library: `plan`, `build`, `convert`, `convert_many`, `inspect` and `boot`, with the values
that they take and give.

The names in `__all__` are public (docs/reference/api.md); everything else in dibo is private, and changes without
notice. Errors are those of `dibo.errors`.

The other modules here are the functions behind the commands, one module for each, with the environment as a parameter;
`session` opens what most of them work with: the engine, the run, the caches. `dibo.cli` calls them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dibo.api.machines.boot import BootResult
    from dibo.api.public import Progress, boot, build, convert, convert_many, inspect, plan
    from dibo.api.values import (
        BuildOptions,
        BuildPlan,
        BuildResult,
        Conversion,
        ConversionResult,
        ConvertOptions,
        DiskOptions,
        LayerPlan,
        MachineOptions,
    )
    from dibo.inspect.contents import DiskContents, DiskPartition, InstalledKernel, OperatingSystem
    from dibo.machines.steps import BootStep, StepResult
    from dibo.tree.dpkg import Package

__all__ = [
    "BootResult",
    "BootStep",
    "BuildOptions",
    "BuildPlan",
    "BuildResult",
    "Conversion",
    "ConversionResult",
    "ConvertOptions",
    "DiskContents",
    "DiskOptions",
    "DiskPartition",
    "InstalledKernel",
    "LayerPlan",
    "MachineOptions",
    "OperatingSystem",
    "Package",
    "Progress",
    "StepResult",
    "boot",
    "build",
    "convert",
    "convert_many",
    "inspect",
    "plan",
]

_MODULES: Final = {
    "dibo.api.public": ("Progress", "boot", "build", "convert", "convert_many", "inspect", "plan"),
    "dibo.api.machines.boot": ("BootResult",),
    "dibo.api.values": (
        "MachineOptions",
        "BuildOptions",
        "BuildPlan",
        "BuildResult",
        "Conversion",
        "ConversionResult",
        "ConvertOptions",
        "DiskOptions",
        "LayerPlan",
    ),
    "dibo.inspect.contents": ("DiskContents", "DiskPartition", "InstalledKernel", "OperatingSystem"),
    "dibo.machines.steps": ("BootStep", "StepResult"),
    "dibo.tree.dpkg": ("Package",),
}


def __getattr__(name: str) -> object:
    """Public names are imported when they are used: a command needs few of them."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
