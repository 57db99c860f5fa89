"""What every process of a subject prefix has to agree on: into how many groups the keys are divided."""

from __future__ import annotations

from typing import Final

from catga_core.errors import ConfigurationError
from catga_nats.jetstream.state import Bucket

_KEY: Final = "settings.order_groups"


async def agree_on_groups(state: Bucket, groups: int) -> None:
    """Record the number of groups, or compare it with the recorded one.

    With another number a message with a key would be given by two consumers.

    Args:
        state: The bucket that every process reads.
        groups: `JetStreamOptions.order_groups`.

    Raises:
        ConfigurationError: Another number is recorded.
        CatgaError: The bucket cannot be read.
    """
    known = await state.get(_KEY)
    if known is None:
        if await state.put(_KEY, str(groups).encode(), last=0) is not None:
            return
        known = await state.get(_KEY)
    recorded = "" if known is None else known.value.decode(errors="replace")
    if recorded != str(groups):
        msg = (
            f"JetStreamOptions.order_groups must be the same in every process: the queues of this subject prefix have {recorded}; "
            f"got {groups}. Use order_groups={recorded}, or another subject_prefix."
        )
        raise ConfigurationError(msg)
