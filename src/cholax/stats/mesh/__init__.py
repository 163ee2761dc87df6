"""Grids and triangle meshes, and the finite elements on them."""

from cholax.stats.mesh._triangulate import triangulate as triangulate
from cholax.stats.mesh.elements import FiniteElements as FiniteElements
from cholax.stats.mesh.grid import Grid as Grid
from cholax.stats.mesh.mesh import Mesh as Mesh
