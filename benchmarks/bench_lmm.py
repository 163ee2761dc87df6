"""`cx.stats.lmm` on a crossed mixed model of InstEval's size, beside lme4 where R has it.

    python benchmarks/bench_lmm.py [--simulated] [--repeats N]

InstEval: 73 421 ratings of 1 128 lecturers by 2 972 students in 14 departments, and a fixed effect
`service`; y ~ service + (1|s) + (1|d) + (1|dept). With R and lme4 installed the data are exported
to a temporary file and lmer fits the same model in the same run; otherwise (or with --simulated)
data of the same sizes and degrees are drawn with a fixed seed. Prints seconds of: one deviance, one
deviance with its gradient, one exact Hessian, compilation, and the whole fit by REML from a table
to a summary, the first time in the process and again; and the criterion of both programs.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cholax.stats._lmm import LinearMixedModel, lmm

jax.config.update("jax_enable_x64", True)

FORMULA = "y ~ service + (1 | s) + (1 | d) + (1 | dept)"
ROWS, STUDENTS, LECTURERS, DEPARTMENTS = 73_421, 2_972, 1_128, 14
R_EXPORT = """
suppressMessages(library(lme4)); data(InstEval)
write.csv(InstEval[c("y", "s", "d", "dept", "service")], "{path}", row.names = FALSE)
"""
R_FIT = """
suppressMessages(library(lme4))
x <- read.csv("{path}"); for (k in c("s", "d", "dept", "service")) x[[k]] <- factor(x[[k]])
t <- system.time(m <- lmer(y ~ service + (1|s) + (1|d) + (1|dept), x))[["elapsed"]]
f <- update(m, devFunOnly = TRUE); th <- getME(m, "theta"); invisible(f(th * 1.01))
e <- system.time(for (k in 1:20) f(th * (1 + k / 1000)))[["elapsed"]] / 20
cat(sprintf("RESULT %.3f %.5f %.8f %s\\n", t, e, REMLcrit(m), paste(th, collapse = " ")))
"""


def simulated(seed: int = 2008) -> pd.DataFrame:
    """Students rate some 25 lecturers each, lecturers are rated from 1 to some hundred times."""
    rng = np.random.default_rng(seed)
    of_lecturer = rng.integers(0, DEPARTMENTS, LECTURERS)
    home = rng.integers(0, DEPARTMENTS, STUDENTS)
    popularity = rng.gamma(1.2, size=LECTURERS)
    each = np.diff(np.linspace(0, ROWS, STUDENTS + 1).astype(int))
    s, d = np.repeat(np.arange(STUDENTS), each), []
    for student, count in enumerate(each):
        chance = popularity * np.where(of_lecturer == home[student], 20.0, 1.0)
        d.append(rng.choice(LECTURERS, count, replace=False, p=chance / chance.sum()))
    d = np.concatenate(d)
    service = rng.integers(0, 2, ROWS)
    dept = np.where(service == 1, home[s], of_lecturer[d])
    eta = 3.3 - 0.07 * service + 0.33 * rng.standard_normal(STUDENTS)[s]
    eta += 0.51 * rng.standard_normal(LECTURERS)[d] + 0.08 * rng.standard_normal(DEPARTMENTS)[dept]
    y = np.clip(np.round(eta + 1.18 * rng.standard_normal(ROWS)), 1, 5)
    return pd.DataFrame({"y": y, "s": s, "d": d, "dept": dept, "service": service.astype(str)})


def r_output(program: str) -> str | None:
    """What an R program prints, or None where there is no R or no lme4."""
    if shutil.which("Rscript") is None:
        return None
    done = subprocess.run(["Rscript", "-e", program], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def load(path: Path, only_simulated: bool) -> tuple[pd.DataFrame, str]:
    """InstEval through R, or simulated data written to the same place."""
    if not only_simulated and r_output(R_EXPORT.format(path=path)) is not None:
        return pd.read_csv(path, dtype={"service": str}), "InstEval"
    data = simulated()
    data.to_csv(path, index=False)
    return data, "simulated"


def best(f: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(f())
        times.append(time.perf_counter() - start)
    return min(times)


def timed(f: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result of one run."""
    start = time.perf_counter()
    result = jax.block_until_ready(f())
    return time.perf_counter() - start, result


def show(what: str, seconds: float, note: str = "") -> None:
    """One line."""
    print(f"{what:<44s}{seconds:10.4f} s  {note}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        data, source = load(path, options.simulated)
        print(f"{source}: {len(data)} rows, {FORMULA}")
        first, fit = timed(lambda: lmm(FORMULA, data))
        show("fit, first in the process (compiles)", first, f"{fit.status.evaluations} evaluations")
        again, fit = timed(lambda: lmm(FORMULA, data))
        show("fit, again", again)
        stages(fit.model, fit.optimum.x, options.repeats)
        theta = " ".join(f"{x:.7f}" for x in fit.theta)
        print(f"cholax  REML criterion {fit.criterion:.8f}  theta {theta}")
        printed = r_output(R_FIT.format(path=path))
        if printed is None:
            print("lme4: not found")
            return
        seconds, each, criterion, *thetas = printed.split("RESULT")[1].split()
        show("lme4: lmer", float(seconds))
        show("lme4: deviance without gradient", float(each))
        theta = " ".join(f"{float(x):.7f}" for x in thetas)
        print(f"lme4    REML criterion {float(criterion):.8f}  theta {theta}")
        print(f"ours − theirs {fit.criterion - float(criterion):.2e}")


def stages(model: LinearMixedModel, x: np.ndarray, repeats: int) -> None:
    """Single evaluations, compiled."""
    theta = jnp.asarray(model.to_user(x))
    deviance = jax.jit(lambda t: model.deviance(t, reml=True))
    deviance(theta)
    factor = model.profile(theta, reml=True).factor
    note = f"nnz(L) {factor.plan.nnz_factor}, {factor.plan.flops / 1e9:.2f} Gflop to factor"
    show("deviance", best(lambda: deviance(theta), repeats), note)
    both = best(lambda: model.value_and_gradient(x, reml=True), repeats)
    show("deviance with gradient", both)
    show("exact Hessian", best(lambda: model.hessian(x, reml=True), repeats))


if __name__ == "__main__":
    main()
