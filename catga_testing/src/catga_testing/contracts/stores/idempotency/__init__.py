"""The parts of `IdempotencyContract`."""
