"""Names of variables that speak of a secret."""

from __future__ import annotations

import re
from typing import Final

SPEAKS_OF_SECRET: Final = re.compile(
    r"pass|secret|token|credential|private|(^|_)key($|_)|proxy", re.IGNORECASE
)
"""In the name of a variable."""
