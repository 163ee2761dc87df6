"""Draws as ArviZ data, with the names ArviZ looks for."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest

from cholax.errors import ArgumentError, ShapeError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ArviZ announces its next version at import
    arviz = pytest.importorskip("arviz")

from cholax.integrations.arviz import to_inference_data


class Draws(NamedTuple):
    """What samplers return, without one."""

    positions: Any
    stats: Any


DRAWS = Draws(
    {"theta": {"tau": np.ones((2, 5))}, "u": np.arange(30.0).reshape(2, 5, 3)},
    {
        "lp": np.zeros((2, 5)),
        "diverging": np.zeros((2, 5), bool),
        "step_size": np.array([0.1, 0.2]),
    },
)


def test_draws_get_named_axes_and_sampler_statistics():
    data = to_inference_data(
        DRAWS,
        dims={"u": ["area"], "y": ["area"]},
        coords={"area": ["a", "b", "c"]},
        observed_data={"y": np.arange(3.0)},
    )
    assert data.posterior["u"].sel(chain=1, draw=4, area="b").item() == 28.0
    assert data.posterior["theta.tau"].dims == ("chain", "draw")
    assert set(data.sample_stats.data_vars) == {"lp", "diverging"}
    assert data.observed_data["y"].dims == ("area",)


def test_independent_draws_become_one_chain():
    data = to_inference_data(np.zeros((7, 2)), chain_axis=False)
    assert data.posterior["x"].shape == (1, 7, 2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="there are"):
        to_inference_data({"u": np.zeros((1, 2, 3))}, dims={"v": ["area"]})
    with pytest.raises(ShapeError, match="chain_axis=False"):
        to_inference_data({"tau": np.zeros(4)})
