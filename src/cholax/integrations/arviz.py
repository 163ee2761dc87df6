"""Draws as ArviZ data: `InferenceData` of ArviZ 0.x, a `DataTree` of ArviZ 1.x."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cholax._core.errors import ArgumentError, ShapeError

try:
    import arviz
except ImportError:  # ArviZ 1.x comes in parts, of which this is the one needed
    import arviz_base as arviz  # pyright: ignore[reportMissingImports]

__all__ = ["to_inference_data"]

# ArviZ 1.x takes groups as one nested dictionary, 0.x as keywords.
_NESTED = int(arviz.__version__.split(".")[0]) >= 1


def to_inference_data(
    draws: Any,
    *,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, Any] | None = None,
    chain_axis: bool = True,
    **groups: Mapping[str, Any],
) -> Any:
    """Posterior draws with named dimensions, for ArviZ's summaries, diagnostics and plots.

    Leaves of a pytree are named by their path, such as `theta.tau`; a single array is `x`.

    Args:
        draws: what the samplers of `cholax.integrations.blackjax` return, whose statistics go to
            `sample_stats`; or a pytree of arrays with leading axes (chain, draw).
        dims: names of the axes after those two, for each variable that has any.
        coords: labels along named axes.
        chain_axis: False where the leading axis is that of draws alone, of independent draws.
        **groups: further groups, such as `observed_data={"y": y}` or `prior={...}`.

    Returns:
        An `arviz.InferenceData` (ArviZ 0.x) or `xarray.DataTree` (ArviZ 1.x).

    Raises:
        ArgumentError: dims of a variable that is not there.
        ShapeError: arrays without the leading axes.

    Example:
        >>> import numpy as np
        >>> from cholax.integrations.arviz import to_inference_data
        >>> data = to_inference_data({"u": np.zeros((2, 5, 3))}, dims={"u": ["area"]},
        ...                          coords={"area": ["a", "b", "c"]})
        >>> data.posterior["u"].dims
        ('chain', 'draw', 'area')
    """
    positions = getattr(draws, "positions", draws)
    posterior = {name: _leading(name, x, chain_axis) for name, x in _named(positions).items()}
    unknown = set(dims or ()) - set(posterior) - {name for g in groups.values() for name in g}
    if unknown:
        raise ArgumentError(
            f"to_inference_data: dims are for variables, got {sorted(unknown)}, but there are "
            f"{sorted(posterior)}. Nested names are joined by dots."
        )
    filled: dict[str, Any] = {"posterior": posterior, **groups}
    stats = getattr(draws, "stats", None)
    if stats:
        # Statistics of whole chains have no place in a group of draws.
        shape = np.shape(stats["lp"])
        filled["sample_stats"] = {k: np.asarray(x) for k, x in stats.items() if x.shape == shape}
    options = {"dims": {k: list(v) for k, v in (dims or {}).items()}, "coords": dict(coords or {})}
    return _from_dict(filled, options)


def _from_dict(groups: dict[str, Any], options: dict[str, Any]) -> Any:
    if _NESTED:
        return arviz.from_dict(groups, **options)
    return arviz.from_dict(**groups, **options)


def _named(tree: Any) -> dict[str, Any]:
    if isinstance(tree, jax.Array | np.ndarray):
        return {"x": tree}
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in leaves
    }


def _leading(name: str, x: Any, chain_axis: bool) -> np.ndarray:
    array = np.asarray(x) if chain_axis else np.asarray(x)[None]
    if array.ndim < 2:
        raise ShapeError(
            f"to_inference_data: {name} needs leading axes (chain, draw), got shape "
            f"{np.shape(x)}. Draws without an axis of chains: chain_axis=False."
        )
    return array
