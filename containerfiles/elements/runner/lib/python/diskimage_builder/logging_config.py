"""Logging of the programs of elements: messages on stderr, as many as DIB_DEBUG_TRACE asks for."""

import logging
import os


def setup() -> None:
    """Set logging up for a program."""
    trace = os.environ.get("DIB_DEBUG_TRACE", "0")
    level = logging.DEBUG if trace.isdigit() and int(trace) > 0 else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
