"""Gather, scatter, dynamic slices and sorting, with known and with data-dependent indices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.sparsediff.detect.cases._case import Family

case = Family()
INDEX = np.array([3, 0, 0, 5, 2])
FAR = np.array([1, 9, -9, -1])


@case(6)
def fancy_index(x):
    return x[INDEX] ** 2


@case(6)
def negative_index(x):
    return x[np.array([-1, -6, 2])] * x[-2]


@case(6)
def modular_index(x):
    return x[(jnp.arange(6) + 1) % 6] - x


@case(6)
def halved_index(x):
    return x[jnp.arange(6) // 2]


@case(6)
def truncated_division_of_negatives(x):
    i = jnp.arange(-3, 3)
    return x[lax.div(i, jnp.int64(2)) + 2] + x[lax.rem(i, jnp.int64(2)) + 1]


@case(6)
def boolean_mask(x):
    return x[np.array([True, False, True, True, False, False])]


@case(12)
def two_index_arrays(x):
    return x.reshape(3, 4)[np.array([0, 2]), np.array([3, 1])]


@case(12)
def mixed_slices_and_index(x):
    return x.reshape(3, 4)[1:, np.array([3, 0, 0])].ravel()


@case(6)
def gather_clip(x):
    return x.at[FAR].get(mode="clip")


@case(6)
def gather_fill(x):
    return x.at[FAR].get(mode="fill", fill_value=0.0)


@case(6)
def gather_wrap(x):
    return jnp.take(x, FAR, mode="wrap")


@case(12)
def take_along_axis_constant(x):
    index = np.array([[0, 2, 1, 1], [2, 2, 0, 1]])
    return jnp.take_along_axis(x.reshape(3, 4), index, axis=0).ravel()


@case(12, nnz=16)
def take_along_axis_constant_then_data(x):
    y = x.reshape(3, 4)
    fixed = jnp.take_along_axis(y, np.array([[0, 2, 1, 1]]), axis=0)
    moving = jnp.take_along_axis(y, jnp.argmax(y, axis=0, keepdims=True), axis=0)
    return jnp.concatenate([fixed, moving]).ravel()


@case(6)
def segment_sum(x):
    return jax.ops.segment_sum(x**2, np.array([0, 2, 2, 0, 1, 2]), 4)


@case(6)
def scatter_set(x):
    return (x * 2).at[np.array([1, 4])].set(x[:2] ** 2)


@case(6)
def scatter_set_duplicates(x):
    return jnp.zeros(4).at[np.array([0, 1, 1])].set(x[:3])


@case(6)
def scatter_add(x):
    return jnp.zeros(4).at[np.array([3, 0, 3, 1, 1, 3])].add(x)


@case(6)
def scatter_multiply(x):
    return x.at[np.array([0, 3])].mul(x[4:], unique_indices=True)


@case(6, points=8)
def scatter_min_and_max(x):
    y = x.at[np.array([0, 3])].min(x[4:])
    return y.at[np.array([1, 5])].max(x[:2])


@case(6)
def scatter_clip(x):
    return x.at[np.array([9, 1])].set(x[:2] * 3, mode="clip")


@case(6)
def scatter_drop(x):
    return x.at[np.array([9, 1, -7])].add(x[:3] * 3, mode="drop")


@case(6)
def scatter_divide_and_power(x):
    return x.at[2].divide(2.0).at[3].power(2)


@case(12)
def scatter_rows(x):
    return jnp.zeros((3, 4)).at[np.array([2, 0])].add(x[:8].reshape(2, 4)).ravel()


@case(12)
def scatter_window(x):
    return jnp.zeros((4, 4)).at[1:3, 2:].set(x[:4].reshape(2, 2)).ravel()


@case(6)
def static_dynamic_slice(x):
    return lax.dynamic_slice(x, (jnp.array(2),), (3,))


@case(6)
def dynamic_slice_past_the_end(x):
    return lax.dynamic_slice(x, (jnp.array(5),), (3,))


@case(6)
def static_dynamic_update(x):
    return lax.dynamic_update_slice(x, x[:2] * 3, (jnp.array(3),))


@case(6, nnz=12)
def unknown_dynamic_slice(x):
    return lax.dynamic_slice(x, (jnp.argmax(x),), (3,))


@case(6, nnz=16)
def unknown_dynamic_update(x):
    return lax.dynamic_update_slice(x, x[:2] * 3, (jnp.argmax(x),))


@case(6, nnz=6)
def value_at_argmax(x):
    return x[jnp.argmax(x)][None]


@case(6, nnz=18)
def bounded_unknown_index(x):
    return x[jnp.clip(jnp.floor(x * 3).astype(int), 1, 2)] + x[1] * x[3]


@case(6, nnz=36)
def gather_by_argsort(x):
    return x[jnp.argsort(x)]


@case(6, nnz=12)
def unknown_scatter(x):
    return x.at[jnp.argmax(x)].set(x[0] * 2) + x[2:3] * 0


@case(6, nnz=11)
def unknown_scatter_add(x):
    return x.at[jnp.argmin(x)].add(x[0] * 2)


@case(8, nnz=32)
def sort_rows(x):
    return jnp.sort(x.reshape(2, 4), axis=1).ravel()


@case(8, nnz=16)
def sort_columns(x):
    return jnp.sort(x.reshape(4, 2)[:2], axis=0).ravel() * x[:4] + x[4:]


@case(6, nnz=36)
def sort_vector(x):
    return jnp.sort(x)


@case(6, nnz=18)
def sort_with_payload(x):
    _, payload = lax.sort((jnp.array([3.0, 1.0, 2.0]), x[:3]), num_keys=1)
    _, moved = lax.sort((x[3:], x[3:] * x[:3]), num_keys=1)
    return payload * moved


@case(6, nnz=12)
def top_values(x):
    return lax.top_k(x, 2)[0]


@case(8, nnz=8)
def row_by_unknown_column(x):
    y = x.reshape(2, 4)
    return y[jnp.arange(2), jnp.argmax(y, axis=1)]


@case(8, nnz=8)
def vmapped_unknown_index(x):
    return jax.vmap(lambda row: row[jnp.argmin(row)])(x.reshape(2, 4))


@case(8, nnz=16)
def vmapped_dynamic_slice(x):
    return jax.vmap(lambda row, k: lax.dynamic_slice(row, (k,), (2,)))(
        x.reshape(2, 4), jnp.argmax(x.reshape(2, 4), axis=1) + 1
    ).ravel()


@case(6, nnz=36)
def median_and_quantile(x):
    return jnp.median(x) * x + jnp.quantile(x, 0.3)


@case(6, nnz=18)
def searched_position(x):
    knots = jnp.array([-1.0, 0.0, 1.0])
    return x[:3][jnp.clip(jnp.searchsorted(knots, x), 0, 2)] * 2.0


@case(6, positive=True)
def permuted_by_constant_argsort(x):
    return x[jnp.argsort(jnp.array([3.0, 1.0, 2.0, 9.0, 0.0, 4.0]))]


@case(6)
def triangular_indices(x):
    rows, columns = np.tril_indices(3)
    return (jnp.zeros((3, 3)).at[rows, columns].set(x) @ jnp.ones(3)) ** 2


@case(6)
def compress_and_nonzero(x):
    index = jnp.nonzero(jnp.array([0, 1, 1, 0, 1, 0]), size=3)[0]
    return x[index]


@case(6)
def select_where_indices(x):
    return jnp.where(np.arange(6) < 3, x[jnp.arange(6) // 3], x[5 - jnp.arange(6)])
