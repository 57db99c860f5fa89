"""Declared sagas: a saga as data, run by the same executor on the same journal as one that is written as code."""
