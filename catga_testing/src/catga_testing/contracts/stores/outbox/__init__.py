"""The parts of `OutboxContract`."""
