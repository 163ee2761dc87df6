"""Everything that is checked before a release: `nox` runs it all, `nox -s lint` one session.

Where nox or some interpreter is missing, tools/test_matrix.py runs the tests without nox.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "native", "tests", "wheel"]

PYTHONS = ["3.11", "3.12", "3.13"]
OLDEST_ABI3 = "3.12"
# The extension is compiled against the oldest supported XLA FFI headers; "" is the newest jaxlib.
JAX_VERSIONS = ["==0.10.0", ""]
CODE = ["src", "tests", "tools", "noxfile.py"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite against an installed build."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the direction of imports."""
    session.install("ruff", "clang-format")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("python", "tools/check_layers.py")
    native = sorted(str(p) for p in Path("native").rglob("*") if p.suffix in {".cc", ".h"})
    if native:
        session.run("clang-format", "--dry-run", "--Werror", *native)


@nox.session
def types(session: nox.Session) -> None:
    """Type-check the package."""
    session.install("jax", "numpy", "scipy", "pymetis", "matplotlib", "pyright")
    session.run("pyright")


@nox.session
@nox.parametrize("build", ["plain", "sanitize"])
def native(session: nox.Session, build: str) -> None:
    """Run the plain C++ tests of the algorithms; also, and the extension, under the sanitizers."""
    session.install("cmake>=3.26", "ninja", "cmeel-eigen")
    if build == "plain":
        session.run("tools/native_tests.sh", "build/native-plain", external=True)
        return
    session.install("nanobind>=2.9", "jax", "jaxlib==0.10.*", "numpy>=2.0", "scipy>=1.16")
    session.run("tools/run_sanitizers.sh", external=True)


@nox.session(python=OLDEST_ABI3)
@nox.parametrize("jax", JAX_VERSIONS, ids=["oldest", "newest"])
def wheel(session: nox.Session, jax: str) -> None:
    """Build one abi3 wheel; run the contract tests with it on the oldest and the newest jaxlib."""
    folder = Path(session.create_tmp()).resolve()
    for stale in folder.glob("cholax-*.whl"):
        stale.unlink()
    session.run("python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), ".")
    (built,) = folder.glob("cholax-*-cp312-abi3-*.whl")
    session.install(f"cholax[test] @ {built.as_uri()}", f"jax{jax}")
    session.run("python", "-m", "pytest", "-n", "2", "-m", "not slow", "tests/contract")
