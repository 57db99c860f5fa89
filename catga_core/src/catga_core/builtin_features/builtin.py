"""Adds the features that `CatgaOptions` asks for; each can be replaced by its own `add_*` call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catga_core.builtin_features.consumers import ConsumersFeature
from catga_core.builtin_features.event_sourcing import EventSourcingFeature
from catga_core.features.dead_letters.feature import DeadLetterFeature
from catga_core.features.dead_letters.options import DeadLetterOptions
from catga_core.features.idempotency.feature import IdempotencyFeature
from catga_core.features.idempotency.options import IdempotencyOptions
from catga_core.features.locks.feature import LocksFeature
from catga_core.features.loop_monitor.feature import LoopMonitorFeature
from catga_core.features.loop_monitor.options import LoopMonitorOptions
from catga_core.features.retention.feature import RetentionFeature
from catga_core.features.retention.options import RetentionOptions

if TYPE_CHECKING:
    from catga_core.container.app.options import CatgaOptions
    from catga_core.feature import FeatureHost


def add_builtin_features(container: FeatureHost, options: CatgaOptions) -> None:
    """Add the features that the options ask for.

    Args:
        container: The container.
        options: The flags, and the short forms of the features' own options.
    """
    container.add_feature(LocksFeature())
    container.add_feature(
        DeadLetterFeature(DeadLetterOptions(keep_failed_events=options.enable_dead_letter_queue))
    )
    container.add_feature(EventSourcingFeature(max_event_bytes=options.max_event_bytes))
    container.add_feature(ConsumersFeature())
    container.add_feature(RetentionFeature(RetentionOptions(interval_seconds=options.prune_interval_seconds)))
    container.add_feature(
        LoopMonitorFeature(LoopMonitorOptions(warning_seconds=options.loop_block_warning_seconds))
    )
    # Without the flag it is there for commands with @idempotent.
    container.add_feature(
        IdempotencyFeature(
            IdempotencyOptions(
                all_commands=options.enable_idempotency,
                ttl_seconds=options.idempotency_ttl_seconds,
                lease_seconds=options.idempotency_lease_seconds,
                wait_for_result=options.idempotency_wait_seconds,
            )
        )
    )
    if options.enable_outbox:
        _add_outbox(container, options)
    if options.enable_queues:
        from catga_core.features.queues.feature import add_queues

        add_queues(container)
    if options.enable_inbox:
        _add_inbox(container, options)


def _add_outbox(container: FeatureHost, options: CatgaOptions) -> None:
    from catga_core.features.outbox.feature import add_outbox
    from catga_core.features.outbox.options import OutboxOptions

    chosen = OutboxOptions(
        relay=options.enable_outbox_relay,
        batch_size=options.outbox_batch_size,
        lease_seconds=options.outbox_lease_seconds,
        poll_seconds=options.outbox_poll_seconds,
        max_attempts=options.outbox_max_attempts,
        retry_delay_seconds=options.outbox_retry_delay_seconds,
        retry_max_delay_seconds=options.outbox_retry_max_delay_seconds,
        retention_seconds=options.outbox_retention_seconds,
        alarm_seconds=options.outbox_alarm_seconds,
    )
    add_outbox(container, chosen)


def _add_inbox(container: FeatureHost, options: CatgaOptions) -> None:
    from catga_core.features.inbox.feature import add_inbox
    from catga_core.features.inbox.options import InboxOptions

    add_inbox(container, InboxOptions(retention_seconds=options.inbox_retention_seconds))
