"""Drawings of sagas: before they run, from their definition or their source, and while they run, with what is done."""
