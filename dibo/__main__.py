"""`python -m dibo`."""

import sys

from dibo.cli import dibo

sys.exit(dibo())
