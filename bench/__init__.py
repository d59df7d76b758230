"""Benchmarks of pynn: ``python -m bench --help``."""
