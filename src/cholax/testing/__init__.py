"""Verifiers for users and for our own tests."""

from cholax.primitives import use_specification as use_specification
from cholax.testing.counting import count_kernel_calls as count_kernel_calls
