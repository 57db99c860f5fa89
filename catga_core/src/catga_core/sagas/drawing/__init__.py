"""Drawings of sagas, from a definition or from source code, with the progress of a running saga."""
