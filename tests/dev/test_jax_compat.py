"""What we rely on in JAX's extension interfaces, pinned: a JAX that moves it fails here."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax._core.compilation import FEW_CALLS, compile_ahead
from cholax._core.jax_compat import Primitive, ad, batching, ir, mlir, user_context


def test_rule_tables_exist() -> None:
    primitive = Primitive("pinned")
    for table in (ad.primitive_jvps, ad.primitive_transposes, batching.primitive_batchers):
        table[primitive] = print  # as define() enters its rules
    assert hasattr(ad, "is_undefined_primal")


def test_zero_tangents_are_made_from_tangent_types() -> None:
    aval = jax.typeof(jax.numpy.ones(3)).to_tangent_aval()
    assert ad.Zero(aval).aval.shape == (3,)


def test_primitives_bind_several_results() -> None:
    primitive = Primitive("pinned")
    primitive.multiple_results = True
    primitive.def_impl(lambda x: [x, x])
    assert len(primitive.bind(1.0)) == 2


def test_lowering_tells_whether_a_program_is_exported() -> None:
    assert "for_export" in mlir.LoweringParameters.__annotations__


def test_lowering_tells_the_platforms_of_a_program() -> None:
    for context in (mlir.ModuleContext, mlir.LoweringRuleContext):
        assert "platforms" in context.__annotations__


def test_host_callbacks_are_emitted_without_jax_arrays() -> None:
    parameters = list(inspect.signature(mlir.emit_python_callback).parameters)
    assert parameters[:6] == [
        "ctx",
        "callback",
        "token",
        "operands",
        "operand_avals",
        "result_avals",
    ]
    assert "has_side_effect" in parameters


@pytest.mark.parametrize("name", ["DenseI32ArrayAttr", "DenseI64ArrayAttr", "DenseF64ArrayAttr"])
def test_flat_array_attributes_exist(name: str) -> None:
    assert hasattr(ir, name)


def test_user_context_retraces_jitted_functions() -> None:
    context = user_context("a")
    traces = []
    f = jax.jit(lambda x: traces.append(context.value) or x)
    f(1.0)
    with context("b"):
        f(1.0)
    f(1.0)
    assert traces == ["a", "b"]


def test_array_types_tell_which_mesh_axes_they_vary_over() -> None:
    assert jax.typeof(jax.numpy.ones(3)).manual_axis_type.varying == frozenset()


@pytest.mark.parametrize("options", [None, FEW_CALLS])
def test_a_program_compiled_ahead_is_not_compiled_again(options) -> None:
    program = jax.jit(lambda x: jnp.cos(x) @ x, compiler_options=options)
    x = jnp.arange(3.0)
    found = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: found.append(name))
    try:
        compile_ahead(program, x)()
        ahead = sum("backend_compile" in name for name in found)
        value = program(x)
    finally:
        jax.monitoring.clear_event_listeners()
    assert ahead == 1
    assert sum("backend_compile" in name for name in found) == 1
    assert value == pytest.approx(float(np.cos(np.arange(3.0)) @ np.arange(3.0)))
