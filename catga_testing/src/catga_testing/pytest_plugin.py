"""The pytest plugin of catga-testing."""
