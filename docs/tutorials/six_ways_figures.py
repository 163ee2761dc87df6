"""Draw the two figures of six-ways-to-differentiate.md.

python docs/tutorials/six_ways_figures.py [FOLDER]        # docs/images by default
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import cholax as cx

mpl.use("Agg")
import matplotlib.pyplot as plt

jax.config.update("jax_enable_x64", True)
IMAGES = Path(__file__).resolve().parents[1] / "images"
RULES = {"forward": "#b3541e", "central": "#2b6a99", "five_point": "#3d7d3d"}


def errors_against_step(path: Path) -> None:
    """Relative error of three fixed rules over all steps, and where the adaptive rule lands."""
    functions = {"exp at 1": (jnp.exp, 1.0, np.e)}
    functions["sin(1000 x) at 0.3"] = (lambda x: jnp.sin(1000 * x), 0.3, 1000 * np.cos(300.0))
    steps = 10.0 ** np.arange(-14, 0.01, 0.5)
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for panel, (title, (f, x, truth)) in zip(panels, functions.items(), strict=True):
        for rule, color in RULES.items():
            # Steps are in units of `scale`: with 1 they are those of the axis.
            found = [cx.finite_difference.derivative(f, rule, step=h, scale=1.0)(x) for h in steps]
            error = np.abs(np.array(found) / truth - 1)
            label = rule.replace("_", " ")
            panel.loglog(steps, np.maximum(error, 1e-16), color=color, label=label)
        value, bar = cx.finite_difference.derivative(f, with_error=True)(x)
        panel.axhline(max(abs(value / truth - 1), 1e-16), color="black", label="adaptive: error")
        panel.axhline(abs(bar / truth), color="black", ls=":", label="adaptive: its own estimate")
        panel.set(title=title, xlabel="step h", ylim=(1e-17, 1e3))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("relative error of the derivative")
    panels[0].legend(loc="upper center", ncols=2, fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def model(u: jax.Array) -> jax.Array:
    """A random walk of 24 steps with a common mean."""
    mean, walk = u[0], u[1:]
    return jnp.sum(jnp.diff(walk) ** 2) + jnp.sum(jnp.exp(mean + walk)) + mean**2


def coloured_pattern(path: Path) -> None:
    """A Hessian's pattern with its columns in the colours of a star colouring."""
    u = jnp.zeros(25)
    hessian = cx.hessian(model)
    coloring, pattern = hessian.colors(u), hessian.pattern(u)
    colors = np.asarray(coloring.column_colors)
    row = np.concatenate([pattern.rows, pattern.columns])
    column = np.concatenate([pattern.columns, pattern.rows])
    palette = plt.get_cmap("tab10")(np.arange(len(coloring)))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8, 5), width_ratios=(25, 3 + len(coloring)), layout="constrained"
    )
    left.scatter(column, row, s=60, marker="s", color=palette[colors[column]])
    left.set(title=f"25 columns, {len(coloring)} colours", aspect="equal", xlabel="column")
    left.invert_yaxis()
    right.scatter(colors[column], row, s=60, marker="s", color=palette[colors[column]])
    right.set(title=f"{len(coloring)} products", xlim=(-1, len(coloring)))
    right.set_xticks(range(len(coloring)))
    right.set(aspect="equal", xlabel="product")
    right.invert_yaxis()
    left.set_ylabel("row")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Write both."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    errors_against_step(folder / "difference_steps.png")
    coloured_pattern(folder / "coloured_pattern.png")


if __name__ == "__main__":
    main()
