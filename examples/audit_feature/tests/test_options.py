"""The options, in code and from the environment."""

from __future__ import annotations

from typing import Any

import pytest
from catga_audit import AuditOptions

from catga_core import CatgaOptions, ConfigurationError


def test_options_are_read_from_the_environment() -> None:
    environment = {
        "CATGA_SERVICE_NAME": "shop",
        "CATGA_AUDIT_FILE": "/var/lib/shop/audit.db",
        "CATGA_AUDIT_QUERIES": "yes",
        "CATGA_AUDIT_RETENTION_SECONDS": "3600",
    }

    assert AuditOptions.from_env(environment) == AuditOptions(
        file="/var/lib/shop/audit.db", queries=True, retention_seconds=3600.0
    )
    assert CatgaOptions.from_env(environment).service_name == "shop"


def test_misspelt_variable_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConfigurationError, match=r"CATGA_AUDIT_FLIE.*CATGA_AUDIT_FILE"):
        AuditOptions.from_env({"CATGA_AUDIT_FLIE": "audit.db"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"max_waiting": 0},
        {"batch_size": 10, "max_waiting": 9},
        {"flush_seconds": 0},
        {"retention_seconds": -1},
        {"file": 7},
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"AuditOptions\({list(wrong)[-1]}="):
        AuditOptions(**wrong)
