"""The version, one for all of Catga's distributions, and the check that sisters are of the same."""

from __future__ import annotations

import warnings

__version__ = "0.1.0"


def check_sister(distribution: str, version: str) -> None:
    """Warn when another of Catga's distributions is not of this version; they are released and tested together.

    Args:
        distribution: Its name, such as `catga-nats`.
        version: Its version.
    """
    if version != __version__:
        text = (
            f"{distribution} {version} runs with catga-core {__version__}: they are tested only together; "
            f'install the same version of both, such as pip install "{distribution}=={__version__}"'
        )
        warnings.warn(text, RuntimeWarning, stacklevel=3)
