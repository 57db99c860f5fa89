"""The features that `CatgaOptions` asks for.

Those of event sourcing are here and not in its package, which an application without it does not import.
"""

from catga_core.builtin_features.builtin import add_builtin_features

__all__ = ["add_builtin_features"]
