"""Sisters of different versions run together only with a warning."""

from __future__ import annotations

import importlib

import pytest

import catga_core.version
import catga_nats.version
import catga_testing.version


@pytest.mark.parametrize("module", [catga_nats.version, catga_testing.version])
def test_a_sister_of_another_version_warns_at_import(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catga_core.version, "__version__", "9.9.9")

    with pytest.warns(RuntimeWarning, match=r"catga-\w+ [\d.]+ runs with catga-core 9\.9\.9.*pip install"):
        importlib.reload(module)  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [catga_nats.version, catga_testing.version])
@pytest.mark.filterwarnings("error")
def test_sisters_of_one_version_say_nothing(module: object) -> None:
    importlib.reload(module)  # type: ignore[arg-type]
