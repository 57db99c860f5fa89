"""The parts of `DeadLetterContract`."""
