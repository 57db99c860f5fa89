"""The parts of `SagaContract`."""
