"""What is refused before a bake builds anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dibo.api.baking.planning import require_secrets
from dibo.errors import UsageError
from dibo.flavours.model import Secret
from dibo.settings.secrets import SecretSource


def planned(*steps: object, secrets: tuple[SecretSource, ...] = ()) -> Any:
    settings = SimpleNamespace(secrets=secrets, environment={"A_TOKEN": "value"})
    plan = SimpleNamespace(to_run=[SimpleNamespace(step=step) for step in steps])
    return cast(
        Any, SimpleNamespace(spec=SimpleNamespace(settings=settings), decided=SimpleNamespace(plan=plan))
    )


def test_a_secret_of_a_layer_that_is_to_be_built(tmp_path: Path) -> None:
    step = SimpleNamespace(flavour="site", secrets=(Secret(name="token"),))
    with pytest.raises(UsageError, match=r"a secret is missing: 'token' \(of the flavour 'site'\)"):
        require_secrets(planned(step))
    require_secrets(planned(step, secrets=(SecretSource(name="token", variable="A_TOKEN"),)))
    require_secrets(planned())
