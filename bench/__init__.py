"""Benchmarks: each is a ratio against a plain-library baseline that is measured in the same run.

A bench is a module here with ``NAME`` (its own file name), ``GOAL``, ``HIGHER_IS_BETTER`` and ``measure() -> float``,
which gives the ratio. ``python -m bench NAME`` runs it. What benches share lies in modules that have no ``NAME``.
"""
