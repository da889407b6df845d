"""Options of `dibo bake` that say where it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dibo.api.fleet.cluster import ClusterAddress


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on",
        metavar="CLUSTER",
        help="workers of Dask that do the tasks: dask://HOST:PORT of a scheduler, tls://HOST:PORT, "
        "or dask for some on this machine",
    )
    parser.add_argument(
        "--layers",
        action="store_true",
        help="build only the layers that all of these images have in common, and store them in the cache",
    )


def cluster_of(arguments: argparse.Namespace) -> ClusterAddress | None:
    """Raises UsageError."""
    if arguments.on is None:
        return None
    from dibo.api.fleet.cluster import parse_cluster

    return parse_cluster(arguments.on)
