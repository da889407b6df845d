"""`python -m dibo`."""

import sys

from dibo.cli.main import dibo

sys.exit(dibo())
