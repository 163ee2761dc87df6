"""Errors, dtype policy and the one door to JAX internals. Imports nothing else of cholax."""
