"""What can go wrong, in one line that says what to do."""

from __future__ import annotations


class PullError(Exception):
    """The deployment ends here; the text is for whoever reads the console or the boot server's log."""


class Passing(PullError):
    """It may go better the next time."""


class Refused(PullError):
    """The boot server does not know this machine, or does not want it."""
