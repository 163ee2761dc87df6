"""Precisions of cholax's latent models, and any JAX function, as PyTensor Ops."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from pytensor.configdefaults import config
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Variable
from pytensor.link.jax.dispatch.basic import jax_funcify
from pytensor.tensor.type import TensorType

from cholax._core.dtypes import check_values
from cholax.integrations.pytensor._untyped import Op, pt
from cholax.integrations.pytensor.matrix import SymmetricMatrix
from cholax.integrations.pytensor.ops import check_process


def precision_of(model: Any, *, ordering: Any = "auto", **hyper: Any) -> SymmetricMatrix:
    """The precision of a latent model, its hyperparameters variables of a PyTensor graph.

    Args:
        model: a `cholax.stats` latent model, such as `cholax.stats.besag(graph)`.
        ordering: as for `cholax.cholesky`.
        **hyper: its hyperparameters by name.

    Returns:
        A `SymmetricMatrix`; the model's `constraints` go to the density beside it.

    Example:
        >>> import cholax.stats as cs, pytensor.tensor as pt
        >>> from cholax.integrations.pytensor import precision_of
        >>> rho = pt.scalar("rho")
        >>> precision_of(cs.ar1(3), precision=1.0, rho=rho)
        SymmetricMatrix(n=3, nnz=5, float64)
    """
    names = tuple(sorted(hyper))
    variables = _one_dtype([hyper[name] for name in names])
    (values,) = JaxFunction(_Precision(model, names))(*variables, return_list=True)
    return SymmetricMatrix(values, model.pattern, ordering=ordering)


def _one_dtype(hyper: list[Any]) -> list[Any]:
    """Variables; Python numbers adapt to the dtype of the others, or to `floatX`."""
    known = [x.type.dtype for x in hyper if isinstance(x, Variable)]
    dtype = np.result_type(*known).name if known else config.floatX
    return [
        x if isinstance(x, Variable) else pt.as_tensor_variable(np.asarray(x, dtype)) for x in hyper
    ]


@dataclass(frozen=True)
class _Precision:
    """Hyperparameters ↦ values of the precision."""

    model: Any
    names: tuple[str, ...]

    def __call__(self, *hyper: Any) -> tuple[Any, ...]:
        return (self.model.precision(**dict(zip(self.names, hyper, strict=True))).values,)


@dataclass(frozen=True)
class _Pullback:
    """Inputs and cotangents of the outputs ↦ cotangents of the inputs."""

    function: Callable[..., tuple[Any, ...]]
    inputs: int

    def __call__(self, *arguments: Any) -> tuple[Any, ...]:
        primal, cotangents = arguments[: self.inputs], arguments[self.inputs :]
        return jax.vjp(self.function, *primal)[1](tuple(cotangents))


class JaxFunction(Op):
    """A hashable JAX function of arrays, returning a tuple of arrays, and all its derivatives.

    Unlike `pytensor.wrap_jax` it is compared, merged and pickled by its function, so that equal
    nodes of a graph are computed once and chains can run in processes of their own.
    """

    __props__ = ("function",)

    def __init__(self, function: Callable[..., tuple[Any, ...]]) -> None:
        self.function = function

    def make_node(self, *inputs: Any) -> Apply:
        """Shapes and dtypes from JAX."""
        variables = [pt.as_tensor_variable(x) for x in inputs]
        specs = [jax.ShapeDtypeStruct(x.type.shape, x.type.dtype) for x in variables]
        for spec in specs:
            check_values(np.empty(0, spec.dtype), "JaxFunction")
        outputs = jax.eval_shape(self.function, *specs)
        types = [TensorType(out.dtype.name, shape=out.shape) for out in outputs]
        return Apply(self, variables, [t() for t in types])

    def infer_shape(self, fgraph: Any, node: Apply, shapes: Any) -> list[Any]:
        """Static."""
        del fgraph, shapes
        return [out.type.shape for out in node.outputs]

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Run the compiled program."""
        del node
        check_process()
        for storage, result in zip(output_storage, _compiled(self.function, *inputs), strict=True):
            storage[0] = np.array(result)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """JAX's own."""
        filled = [
            out.zeros_like() if isinstance(ct.type, DisconnectedType) else ct
            for out, ct in zip(outputs, cotangents, strict=True)
        ]
        return JaxFunction(_Pullback(self.function, len(inputs)))(
            *inputs, *filled, return_list=True
        )

    def L_op(self, inputs: Any, outputs: Any, output_grads: Any) -> list[Any]:
        """The pullback by its name in PyTensor 2."""
        return self.pullback(inputs, outputs, output_grads)


def _execute(function: Callable[..., tuple[Any, ...]], *inputs: Any) -> tuple[Any, ...]:
    return function(*inputs)


_compiled = jax.jit(_execute, static_argnums=0)


@jax_funcify.register(JaxFunction)
def _jax_of_function(op: JaxFunction, **kwargs: Any) -> Any:
    del kwargs

    def run(*inputs: Any) -> Any:
        results = op.function(*inputs)
        return results[0] if len(results) == 1 else results

    return run
