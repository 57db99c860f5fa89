"""What several stores share: record codecs, checks of appends, and whether two messages have equal content.

For authors of stores; an application does not need it.
"""

from catga_core.messages.fingerprints import same_content

__all__ = ["same_content"]
