"""The parts of `EventLogContract`."""
