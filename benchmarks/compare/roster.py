"""The engines compared, in the order in which every round visits them."""

from dataclasses import dataclass

# Measured under one ordering only (`Entry.detail`): they tell how our kernels relate to each other.
DETAILS = (
    "log_det_of_values",
    "hessian_vector",
    "cholesky_tangent",
    "cholesky_cotangent",
    "symmetric_product",
    "symmetric_product_transpose",
    "dispatch",
)


@dataclass(frozen=True)
class Entry:
    """An engine and the configurations it is run in.

    Attributes:
        name: also the module under `compare.engines`.
        orderings: one session each, all in one process.
        threads: thread counts at which it differs.
        ours: runs in cholax's environment, not in the peers'.
        detail: the ordering under which `DETAILS` are measured.
        settle: seconds its idle threads may still spin, left to them before the next turn.
    """

    name: str
    orderings: tuple[str, ...]
    threads: tuple[int, ...] = (1, 2, 4, 8)
    ours: bool = False
    detail: str = ""
    settle: float = 0.05


ROSTER = (
    Entry("cholax", ("amd", "nested_dissection", "auto"), ours=True, detail="auto"),
    Entry("cholmod", ("amd", "metis", "nesdis", "amd_simplicial")),
    Entry("pardiso", ("amd", "metis"), settle=0.25),  # KMP_BLOCKTIME is 200 ms
    Entry("rslab", ("race",)),
    Entry("sparsax", ("default",), threads=(1,)),
    Entry("chompack", ("amd",), threads=(1,), detail="amd"),
    Entry("eigen", ("amd",), threads=(1,)),
    Entry("superlu", ("mmd",), threads=(1,)),
)
