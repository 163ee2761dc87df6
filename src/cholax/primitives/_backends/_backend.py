"""What a backend is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cholax.primitives._declaration import Declaration


class Lower(Protocol):
    """Lowers one call of a primitive: the values of its results in the program being built.

    `args` are those of the index arrays, where they are traced, and of the operands. `adjoint`: the
    result must be zero where a linear operand is (see `_transforms`).
    """

    def __call__(
        self, d: Declaration, ctx: Any, *args: Any, static: Any, adjoint: bool, **params: Any
    ) -> Any: ...


@dataclass(frozen=True)
class Backend:
    """One way to carry out primitives.

    Attributes:
        name: what `use_backend` takes.
        platforms: those it runs on, by XLA's names; None for all.
        serves: whether it has anything for a primitive.
        lower: what it has.
    """

    name: str
    platforms: tuple[str, ...] | None
    serves: Callable[[Declaration], bool]
    lower: Lower

    def runs_on(self, platform: str) -> bool:
        """Whether a program for that platform can contain it."""
        return self.platforms is None or platform in self.platforms
