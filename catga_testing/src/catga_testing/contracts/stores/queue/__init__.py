"""The parts of `QueueContract`."""
