"""Grids and meshes: finite elements, interpolation, quality, and Matérn covariances on them."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from scipy.sparse.linalg import spsolve

import cholax.stats as cs
from cholax.errors import ArgumentError, PatternError, ShapeError, StructureError
from cholax.stats.mesh.locate import locate
from tests import tolerances as tol

POINTS = np.random.default_rng(4).uniform(size=(40, 2)) * [2.0, 1.0] + [3.0, -1.0]
MESH = cs.triangulate(POINTS, max_edge=0.25, extension=0.6)
GRIDS = {
    "line": cs.Grid((7,), spacing=0.3, origin=(1.0,)),
    "plane": cs.Grid((5, 4), spacing=(0.5, 0.2)),
    "solid": cs.Grid((3, 4, 2), spacing=(0.5, 0.2, 1.0)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_elements_of_grids_integrate_linear_functions_exactly(name):
    grid = GRIDS[name]
    fem, x = grid.finite_elements(), grid.nodes
    extent = np.array(grid.spacing) * (np.array(grid.shape) - 1)
    tol.assert_close(fem.mass.sum(), np.prod(extent), 1e-12)
    tol.assert_close(fem.mass @ x / fem.mass.sum(), x.mean(axis=0), 1e-12)
    # ∫ ∇x_k · ∇x_l over the domain.
    G = fem.stiffness.toarray()
    tol.assert_close(x.T @ G @ x, np.prod(extent) * np.eye(x.shape[1]), 1e-12)
    tol.assert_close(G @ np.ones(grid.n), np.zeros(grid.n), 1e-12)


def test_elements_of_meshes_integrate_linear_functions_exactly():
    fem = MESH.finite_elements()
    G, x = fem.stiffness.toarray(), MESH.nodes
    tol.assert_close(fem.mass.sum(), MESH.areas.sum(), 1e-12)
    tol.assert_close(x.T @ G @ x, MESH.areas.sum() * np.eye(2), 1e-11)
    tol.assert_close(G @ np.ones(MESH.n), np.zeros(MESH.n), 1e-11)
    # One reference triangle by hand, in both orientations.
    for corners in ([0, 1, 2], [0, 2, 1]):
        one = cs.Mesh([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]], [corners]).finite_elements()
        tol.assert_close(one.mass, np.full(3, 1 / 3), 1e-15)
        expected = [[1.25, -0.25, -1.0], [-0.25, 0.25, 0.0], [-1.0, 0.0, 1.0]]
        tol.assert_close(one.stiffness.toarray(), expected, 1e-15)


def test_square_triangles_have_the_stencil_of_the_grid():
    grid = cs.Grid((4, 3), spacing=(0.5, 0.25))
    i, j = (k.ravel() for k in np.meshgrid(range(3), range(2), indexing="ij"))
    a, b, c, d = 3 * i + j, 3 * (i + 1) + j, 3 * i + j + 1, 3 * (i + 1) + j + 1
    mesh = cs.Mesh(grid.nodes, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]))
    G = mesh.finite_elements().stiffness.toarray()
    tol.assert_close(G, grid.finite_elements().stiffness.toarray(), 1e-13)


def test_projectors_reproduce_linear_functions_at_points():
    rng = np.random.default_rng(0)
    for grid in GRIDS.values():
        low, high = grid.nodes.min(axis=0), grid.nodes.max(axis=0)
        points = low + (high - low) * rng.uniform(size=(9, len(low)))
        points[0], points[1] = low, high
        A = np.asarray(grid.projector(points).to_dense())
        tol.assert_close(A @ grid.nodes, points, 1e-12)
        tol.assert_close(A.sum(axis=1), np.ones(9), 1e-12)
    A = MESH.projector(np.concatenate([POINTS, MESH.nodes[:5]]))
    tol.assert_close(A @ jnp.asarray(MESH.nodes), np.concatenate([POINTS, MESH.nodes[:5]]), 1e-12)
    assert (np.asarray(A.values) >= 0).all()
    assert MESH.projector(POINTS, dtype=np.float32).dtype == np.float32
    assert MESH.projector(np.zeros((0, 2))).shape == (0, MESH.n)


def test_points_are_located_as_by_trying_all_triangles():
    points = np.random.default_rng(5).uniform([2.0, -2.0], [6.0, 1.0], size=(60, 2))
    found, weights = locate(MESH.nodes, MESH.triangles, points)
    corners = MESH.nodes[MESH.triangles]
    for point, triangle, weight in zip(points, found, weights, strict=True):
        system = np.concatenate([corners, np.ones((len(corners), 3, 1))], axis=2).swapaxes(1, 2)
        every = np.linalg.solve(system, np.array([*point, 1.0])[None, :, None])[..., 0]
        inside = np.flatnonzero(every.min(axis=1) >= 0)
        assert (triangle in inside) if inside.size else triangle == -1
        if inside.size:
            tol.assert_close(weight, every[triangle], 1e-12)


def test_points_outside_are_refused_by_name():
    with pytest.raises(ArgumentError, match=r"1 points lie outside .* point 1 at \[9\.0, 9\.0\]"):
        MESH.projector([[4.0, -0.5], [9.0, 9.0]])
    with pytest.raises(ArgumentError, match="point 0"):
        GRIDS["line"].projector([0.5])
    with pytest.raises(ArgumentError, match="finite"):
        MESH.projector([[np.nan, 0.0]])
    with pytest.raises(ShapeError, match=r"\(m, 2\)"):
        MESH.projector([1.0, 2.0])


@pytest.mark.parametrize(
    ("max_edge", "extension", "angle"), [(0.25, 0.6, 20.0), (0.1, 0.3, 20.0), (0.5, 0.05, 10.0)]
)
def test_meshes_have_short_edges_and_no_small_angles(max_edge, extension, angle):
    mesh = cs.triangulate(POINTS, max_edge=max_edge, extension=extension, outer_max_edge=1.0)
    inner = (mesh.nodes[mesh.triangles] >= POINTS.min(axis=0)).all(axis=(1, 2))
    inner &= (mesh.nodes[mesh.triangles] <= POINTS.max(axis=0)).all(axis=(1, 2))
    assert mesh.edge_lengths.max() <= 1.0
    assert mesh.edge_lengths[inner].max(initial=0.0) <= max_edge + extension
    assert mesh.minimum_angle > angle
    # Every point is covered, and the area is that of the hull and its margin.
    assert mesh.projector(POINTS).shape == (40, mesh.n)
    assert mesh.areas.sum() > (np.ptp(POINTS, axis=0) * 0.8).prod()


SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
HOLE = np.array([[0.3, 0.3], [0.7, 0.35], [0.6, 0.5], [0.65, 0.7], [0.35, 0.6]])
CORNER = np.array([[0, 0], [1, 0], [1, 0.4], [0.4, 0.4], [0.4, 1], [0, 1.0]])


def shoelace(polygon):
    x, y = polygon.T
    return 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def winds_around(polygon, x):
    """Whether the angles under which x sees the edges add up to a full turn."""
    a, b = polygon - x, np.roll(polygon, -1, axis=0) - x
    angles = np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(axis=1))
    return abs(angles.sum()) > np.pi


@pytest.mark.parametrize(
    ("outline", "max_edge", "holes"),
    [
        (SQUARE, 0.1, []),
        (SQUARE, 0.1, [HOLE]),
        (SQUARE, 0.05, [HOLE[::-1], HOLE * 0.2]),
        (CORNER, 0.08, [[[0.1, 0.6], [0.2, 0.6], [0.2, 0.8], [0.1, 0.8]]]),
    ],
)
def test_meshes_end_at_their_boundary_and_leave_holes_out(outline, max_edge, holes):
    mesh = cs.triangulate(outline, max_edge=max_edge, extension=0, boundary=outline, holes=holes)
    cut = sum(shoelace(np.asarray(hole)) for hole in holes)
    tol.assert_close(mesh.areas.sum(), shoelace(outline) - cut, 1e-12)
    tol.assert_close(mesh.finite_elements().mass.sum(), shoelace(outline) - cut, 1e-12)
    assert mesh.edge_lengths.max() <= max_edge
    assert mesh.minimum_angle > 20
    # Points drawn in the domain are in a triangle, those in a hole or outside in none.
    points = np.random.default_rng(1).uniform(-0.2, 1.2, size=(400, 2))
    expected = np.array([winds_around(outline, x) for x in points])
    for hole in holes:
        expected &= ~np.array([winds_around(np.asarray(hole), x) for x in points])
    assert (mesh.contains(points) == expected).all()


def test_holes_are_cut_out_of_meshes_with_a_margin():
    whole = cs.triangulate(SQUARE, max_edge=0.1, extension=0.4)
    mesh = cs.triangulate(SQUARE, max_edge=0.1, extension=0.4, holes=[HOLE])
    tol.assert_close(whole.areas.sum() - mesh.areas.sum(), shoelace(HOLE), 1e-12)
    assert mesh.minimum_angle > 20
    outer = ~mesh.contains([[0.5, 0.5]]), mesh.contains([[-0.3, 0.5], [0.1, 0.1], [-0.5, 0.5]])
    assert np.concatenate(outer).tolist() == [True, True, True, False]
    # Larger triangles in the margin.
    centres = mesh.nodes[mesh.triangles].mean(axis=1)
    inner = ((centres > 0) & (centres < 1)).all(axis=1)
    assert mesh.areas[~inner].mean() > mesh.areas[inner].mean()
    with pytest.raises(ArgumentError, match=r"or in a hole of it, the first is point 1"):
        mesh.projector([[0.1, 0.1], [0.5, 0.5]])


def test_variance_at_the_boundary_is_right_with_an_extension_of_the_range():
    points = np.array([[0.5, 0.5], [0.5, 0.01], [0.01, 0.01]])

    def variance(**options):
        mesh = cs.triangulate(SQUARE, max_edge=0.08, boundary=SQUARE, **options)
        return (
            cs.matern(mesh)(range=0.4, sd=1.0).linear_combination(mesh.projector(points)).variance
        )

    # Reflected at the end: doubled at an edge, and again in a corner.
    assert np.abs(variance(extension=0.0) / np.array([1.0, 2.0, 4.0]) - 1).max() < 0.1
    assert np.abs(variance(extension=0.4) - 1).max() < 0.05


def test_polygons_that_make_no_domain_are_refused():
    bow = [[0, 0], [1, 1], [1, 0], [0, 1]]
    with pytest.raises(ArgumentError, match=r"boundary: .* edges do not cross"):
        cs.triangulate(SQUARE, max_edge=0.1, boundary=bow)
    with pytest.raises(ArgumentError, match="hole 0 must lie inside the boundary"):
        cs.triangulate(SQUARE, max_edge=0.1, holes=[HOLE + 0.5])
    with pytest.raises(ArgumentError, match="holes 0 and 1 overlap"):
        cs.triangulate(SQUARE, max_edge=0.1, holes=[HOLE, HOLE + 0.05])
    with pytest.raises(ArgumentError, match=r"1 points lie outside .* point 1"):
        cs.triangulate([[0.1, 0.1], [0.5, 0.5]], max_edge=0.1, boundary=SQUARE, holes=[HOLE])
    box = np.array([[0.2, 0.2], [0.5, 0.2], [0.5, 0.5], [0.2, 0.5]])
    with pytest.raises(ArgumentError, match="come too near to each other"):
        cs.triangulate(SQUARE, max_edge=0.1, holes=[box, box + np.array([0.3, 0.05])])


def matern_correlation(distance, kappa, nu):
    x = kappa * np.maximum(distance, 1e-12)
    return x**nu * scipy.special.kv(nu, x) / (2 ** (nu - 1) * scipy.special.gamma(nu))


def test_covariance_on_a_fine_grid_is_that_of_matern():
    # Along a line the exact covariance is known for both orders: ν = 1/2 and 3/2.
    grid = cs.Grid((1201,), spacing=0.01)
    middle, apart = 600, np.array([0, 20, 60, 150])
    for alpha, nu in ((1, 0.5), (2, 1.5)):
        field = cs.matern(grid, alpha=alpha)
        Q = field.precision(range=1.0, sd=1.7).as_general().to_scipy().tocsc()
        covariance = spsolve(Q, np.eye(1, 1201, middle)[0])
        expected = 1.7**2 * matern_correlation(0.01 * apart, np.sqrt(8 * nu), nu)
        # The elements are accurate to O(h) for the rough field and O(h²) for the smooth one.
        tol.assert_close(covariance[middle + apart], expected, {0.5: 2e-2, 1.5: 2e-3}[nu])


@pytest.mark.slow
def test_covariance_on_a_fine_mesh_is_that_of_matern():
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    mesh = cs.triangulate(square, max_edge=0.04, extension=0.8, outer_max_edge=0.1)
    field = cs.matern(mesh)(range=0.5, sd=1.7)
    points = np.array([[0.5, 0.5], [0.6, 0.5], [0.5, 0.75], [0.1, 0.9]])
    A = np.asarray(mesh.projector(points).to_dense())
    covariance = A @ spsolve(field.precision.as_general().to_scipy().tocsc(), A.T)
    distance = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    expected = 1.7**2 * matern_correlation(distance, np.sqrt(8.0) / 0.5, 1.0)
    assert np.abs(covariance - expected).max() < 0.03 * 1.7**2


def test_contracts():
    with pytest.raises(ArgumentError, match="no area"):
        cs.Mesh([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [[0, 1, 2]])
    with pytest.raises(ArgumentError, match="node 3 belongs to no triangle"):
        cs.Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]], [[0, 1, 2]])
    with pytest.raises(PatternError, match="between 0 and 2"):
        cs.Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0, 1, 3]])
    with pytest.raises(ShapeError, match=r"\(m, 3\) integers"):
        cs.Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0, 2.0]])
    with pytest.raises(PatternError, match=r"\[0, 1, 2\] is listed twice"):
        cs.Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0, 1, 2], [2, 1, 0]])
    corners = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, -1.0]]
    with pytest.raises(PatternError, match=r"3 triangles meet at the edge \[0, 1\]"):
        cs.Mesh(corners, [[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    with pytest.raises(ArgumentError, match="points must be numbers"):
        cs.Mesh("nodes", [[0, 1, 2]])
    with pytest.raises(ArgumentError, match="on one line"):
        cs.triangulate([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], max_edge=0.5)
    with pytest.raises(ArgumentError, match="max_edge > 0"):
        cs.triangulate(POINTS, max_edge=-0.5)
    with pytest.raises(ArgumentError, match="at least 2 nodes"):
        cs.Grid((5, 1))
    with pytest.raises(ShapeError, match="1 to 3"):
        cs.Grid((2, 2, 2, 2))
    stiffness = GRIDS["line"].finite_elements().stiffness
    with pytest.raises(StructureError, match="positive"):
        cs.FiniteElements(np.zeros(7), stiffness, 1)
    with pytest.raises(StructureError, match="diagonal"):
        cs.FiniteElements(stiffness, stiffness, 1)
    with pytest.raises(ShapeError, match="order 3"):
        cs.FiniteElements(np.ones(3), stiffness, 1)
