"""The parts of `UnitOfWorkContract`."""
