"""`Plan`, the symbolic factorisation of a pattern, and `analyze`, which makes and shares plans."""

import hashlib
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal, NoReturn, Self, final

import numpy as np

from cholax._core.errors import FactorSizeError, ShapeError, StructureError
from cholax._native import lib
from cholax.analysis.layout import PlanLayout
from cholax.ordering import resolve
from cholax.patterns import Pattern

# Part of every digest: raise it when panels, amalgamation parameters or postorder change, so that
# programs compiled for one layout never meet plans of another.
LAYOUT_VERSION = b"cholax-plan-2"


@final
class Plan:
    """The symbolic factorisation P A Pᵀ = L Lᵀ of one symmetric pattern under one permutation.

    Immutable; equal plans have equal `digest` (hex, 128 bits). The values of L live in one vector
    of length `size`, made of dense column blocks (supernodes), which also holds the zeros that make
    the blocks dense. Built by `analyze` and `plan_from_factor` only.

    Attributes:
        kind: "llt", of the kinds of `SymbolicFactor`.
        pattern: the lower triangle of A (of L itself after `plan_from_factor`).
        size: length of the factor vector.
        nnz_factor: entries of L, without the zeros above.
        flops: sum over the columns of L of their squared number of entries.
        closed: the pattern of L contains all fill; False only after `plan_from_factor`.
    """

    kind: Literal["llt"] = "llt"
    pattern: Pattern
    native: Any
    digest: str
    n: int
    size: int
    nnz_factor: int
    flops: float
    num_supernodes: int
    stack_size: int
    closed: bool
    _attributes: dict[str, Any]

    def __init__(
        self, pattern: Pattern, native: Any, digest: str, attributes: Mapping[str, Any]
    ) -> None:
        # A copy without the plan cache of `pattern`: otherwise the two would keep each other alive
        # until the next garbage collection.
        own = Pattern.trusted(pattern.shape, pattern.indptr, pattern.indices, pattern.symmetric)
        own.__dict__["fingerprint"] = pattern.fingerprint
        self.__dict__.update(
            pattern=own,
            native=native,
            digest=digest,
            n=native.n,
            size=native.size,
            nnz_factor=native.nnz_factor,
            flops=native.flops,
            num_supernodes=native.num_supernodes,
            stack_size=native.stack_size,
            closed=native.closed,
            _attributes=dict(attributes),
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Plan is immutable, cannot set {name!r}.")

    @property
    def nbytes(self) -> int:
        """Bytes of the native index arrays."""
        return self.native.memory

    @cached_property
    def layout(self) -> PlanLayout:
        """Every array that says where the entries of L are, in one record."""
        return PlanLayout(**self.native.layout())

    @property
    def perm(self) -> np.ndarray:
        """`(n,)` perm[i] is the old index at place i."""
        return self.layout.perm

    @property
    def iperm(self) -> np.ndarray:
        """`(n,)` inverse of `perm`: where each old index went."""
        return self.layout.iperm

    @property
    def value_position(self) -> np.ndarray:
        """`(nnz,)` where each stored entry of A starts out in the factor vector."""
        return self.layout.value_position

    @cached_property
    def _lower(self) -> tuple[Pattern, np.ndarray]:
        indptr, indices, positions = self.native.lower_pattern()
        return Pattern.trusted((self.n, self.n), indptr, indices, False), _frozen(positions)

    def lower_pattern(self) -> tuple[Pattern, np.ndarray]:
        """The pattern of L in permuted labels, and where each of its entries is in the vector."""
        return self._lower

    def locate(self, pattern: Pattern) -> np.ndarray:
        """Where each entry of `pattern` (old labels, either triangle) is in the factor vector.

        Returns:
            `(pattern.nnz,)` int32 positions, -1 where L has no such entry.
        """
        if pattern.shape != (self.n, self.n):
            raise ShapeError(
                f"Plan.locate: the pattern must be {self.n}×{self.n}, got {pattern.shape[0]}×"
                f"{pattern.shape[1]}."
            )
        return _frozen(self.native.locate(pattern.indptr, pattern.indices))

    def portable_attributes(self) -> Mapping[str, Any]:
        """What the native side needs to rebuild this plan in another process."""
        return {
            "kind": self.kind,
            "indptr": self.pattern.indptr,
            "indices": self.pattern.indices,
            "factor_size": self.size,
            **self._attributes,
        }

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Plan) and other.digest == self.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        a = self._attributes
        order = None if a["is_factor"] else (a["perm"], a["postorder"], a["supernodal"])
        return _unpickle, (self.pattern, order)

    def __repr__(self) -> str:
        return (
            f"Plan(n={self.n}, nnz_factor={self.nnz_factor}, "
            f"num_supernodes={self.num_supernodes}, digest={self.digest[:8]})"
        )


def analyze(pattern: Any, ordering: Any = "auto", *, supernodal: bool = True) -> Plan:
    """Return the plan of a symmetric pattern under an ordering; equal requests share one plan.

    Args:
        pattern: a symmetric pattern, or a matrix that has one.
        ordering: a name, a permutation or a strategy, see `cholax.ordering.resolve`. "natural" and
            permutations are kept exactly; others may be replaced by an equivalent order.
        supernodal: False gives one column per supernode, so that the factor vector holds the
            entries of L and nothing else, column by column.

    Raises:
        StructureError: the pattern is not symmetric.
        FactorSizeError: L would hold more entries than 32-bit positions can address.

    Example:
        >>> import cholax as cx
        >>> pattern = cx.Pattern((3, 3), [0, 2, 3, 4], [0, 2, 1, 2], symmetric=True)
        >>> analyze(pattern, "natural").nnz_factor
        4
    """
    pattern = _given(pattern)
    if not pattern.symmetric:
        raise StructureError(
            f"analyze: the pattern must be symmetric, got a general one of shape "
            f"{pattern.shape[0]}×{pattern.shape[1]}. Build it with symmetric=True."
        )
    strategy = resolve(ordering)
    postorder = not strategy.keeps_order

    def build() -> Plan:
        perm = np.ascontiguousarray(strategy.order(pattern), np.int32)
        return _ordered(pattern, perm, postorder, supernodal)

    return _shared(pattern, (strategy.key, supernodal), build)


def _ordered(pattern: Pattern, perm: np.ndarray, postorder: bool, supernodal: bool) -> Plan:
    digest = _digest(pattern, perm, np.array([postorder, supernodal, False]))
    native = _native_plan(
        lib().analyze,
        (digest, pattern.n, pattern.indptr, pattern.indices, perm, postorder, supernodal),
    )
    attributes = {
        "is_factor": False,
        "perm": perm,
        "postorder": postorder,
        "supernodal": supernodal,
    }
    return Plan(pattern, native, digest, attributes)


def _unpickle(pattern: Pattern, order: tuple[np.ndarray, bool, bool] | None) -> Plan:
    """The plan of a pattern under an order that was found before, in another process perhaps."""
    if order is None:
        return plan_from_factor(pattern)
    perm, postorder, supernodal = order
    request = ("unpickled", perm.tobytes(), postorder, supernodal)
    return _shared(pattern, request, lambda: _ordered(pattern, *order))


def plan_from_factor(pattern: Pattern) -> Plan:
    """Return the plan of a factor given as it is: the factor vector is its CSC value vector.

    Args:
        pattern: lower triangular with its whole diagonal. It need not contain all fill; `closed`
            says whether it does.
    """
    n = pattern.n
    full = pattern.symmetric or bool(np.all(pattern.diagonal_positions >= 0))
    if not full or bool(np.any(pattern.rows < pattern.columns)):
        raise StructureError(
            f"plan_from_factor: the pattern must be lower triangular with its whole diagonal, got "
            f"{'an entry above the diagonal' if full else 'a column without its diagonal'}."
        )

    def build() -> Plan:
        digest = _digest(pattern, np.zeros(0, np.int32), np.array([False, False, True]))
        native = lib().plan_from_factor(digest, n, pattern.indptr, pattern.indices)
        return Plan(pattern, native, digest, {"is_factor": True})

    return _shared(pattern, ("factor",), build)


# --- sharing -------------------------------------------------------------------------------------

_lock = threading.Lock()
# (fingerprint, request) -> plan. Weak: patterns and compiled programs own plans.
_plans: "weakref.WeakValueDictionary[Hashable, Plan]" = weakref.WeakValueDictionary()
# One gate per plan being made, with the number of threads at it: equal requests wait for the first,
# different ones run side by side.
_gates: dict[Hashable, tuple[threading.Lock, list[int]]] = {}


@contextmanager
def _gate(key: Hashable) -> Iterator[None]:
    with _lock:
        gate, waiting = _gates.setdefault(key, (threading.Lock(), [0]))
        waiting[0] += 1
    try:
        with gate:
            yield
    finally:
        with _lock:
            waiting[0] -= 1
            if waiting[0] == 0:
                del _gates[key]


def _shared(pattern: Pattern, request: Hashable, build: Callable[[], Plan]) -> Plan:
    held = pattern._plans  # noqa: SLF001  # kept by the pattern for this module alone
    plan = held.get(request)
    if plan is not None:
        return plan
    key = (pattern.fingerprint, request)
    with _gate(key):
        plan = _plans.get(key)
        if plan is None:
            plan = build()
            _plans[key] = plan
    held[request] = plan
    return plan


# --- helpers -------------------------------------------------------------------------------------


def _given(pattern: Any) -> Pattern:
    pattern = getattr(pattern, "pattern", pattern)
    if isinstance(pattern, Pattern):
        return pattern
    raise StructureError(
        f"analyze: need a symmetric Pattern or SparseMatrix, got {type(pattern).__name__}. "
        "Convert a matrix first, for instance with cx.from_scipy(A, symmetric=True)."
    )


def _digest(pattern: Pattern, perm: np.ndarray, flags: np.ndarray) -> str:
    digest = hashlib.blake2b(LAYOUT_VERSION, digest_size=16)
    digest.update(pattern.fingerprint)
    digest.update(perm.tobytes())
    digest.update(flags.tobytes())
    return digest.hexdigest()


def _native_plan(make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return make(*arguments)
    except ValueError as error:  # std::length_error; patterns and permutations are valid by now
        raise FactorSizeError(
            f"analyze: {error}. Use a fill-reducing ordering, or a matrix with fewer couplings."
        ) from None


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
