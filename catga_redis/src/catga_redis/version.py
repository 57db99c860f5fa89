"""The version of this distribution, which is the one of all of Catga's; importing it warns of a sister of another."""

from catga_core.version import check_sister

__version__ = "0.1.0"

check_sister("catga-redis", __version__)
