"""The engine's side of the protocol: one JSON request per line in, one JSON answer per line out.

Requests: `open` (load, analyze), `time` (run an operation some times), `check` (results of one
clean pass), `close`, `versions`. Anything an engine prints goes to standard error.
"""

import contextlib
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from problems import load

from compare.session import FROM_VALUES, Session, Skipped

ANALYSES = 3
ANALYSIS_SECONDS = 1.0


class Server:
    """Answers requests about the sessions of one engine."""

    def __init__(self, engine: type[Session], versions: Callable[[], dict[str, str]]) -> None:
        self.engine = engine
        self.versions = versions
        self.sessions: dict[str, Session] = {}
        self.calls = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks; a failure becomes an answer too."""
        try:
            return getattr(self, f"do_{request.pop('do')}")(**request)
        except Skipped as reason:
            return {"skipped": str(reason)}
        except Exception as error:  # peers fail in many ways, the run goes on
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"[:500]}

    def do_versions(self) -> dict[str, Any]:
        """Names and versions of the libraries at work."""
        return {"versions": self.versions()}

    def do_open(self, problem: str, ordering: str) -> dict[str, Any]:
        """Load a problem and analyze it, several times where that is quick."""
        session = self.engine(load(problem), ordering)
        seconds: list[float] = []
        while not seconds or (len(seconds) < ANALYSES and sum(seconds) < ANALYSIS_SECONDS):
            session.forget()
            gc.collect()
            seconds.append(_elapsed(session.analyze))
        self.sessions[ordering] = session
        session.prepare(self._values(session, 0))
        return {
            "analyze": seconds,
            "facts": session.facts(),
            "operations": list(session.operations),
        }

    def do_time(self, ordering: str, operation: str, calls: int, warm: int = 0) -> dict[str, Any]:
        """Time an operation `calls` times, on new values each time, after `warm` untimed calls."""
        session = self.sessions[ordering]
        gc.collect()
        for _ in range(warm):
            self._once(session, operation)
        return {"seconds": [self._once(session, operation) for _ in range(calls)]}

    def do_cycle(self, ordering: str, operations: list[str], cycles: int) -> dict[str, Any]:
        """Time operations one after another, `cycles` times: how they relate to each other."""
        session = self.sessions[ordering]
        gc.collect()
        found: dict[str, list[float]] = {name: [] for name in operations}
        for _ in range(cycles):
            for name in operations:
                found[name].append(self._once(session, name))
        return {"seconds": found}

    def do_check(self, ordering: str, operations: list[str]) -> dict[str, Any]:
        """One pass on the unchanged values, with the results that engines must agree on."""
        session = self.sessions[ordering]
        session.prepare(self._values(session, 0))
        found: dict[str, Any] = {}
        for operation in operations:
            if operation in FROM_VALUES:
                session.prepare(self._values(session, 0))
            session.before(operation)
            getattr(session, operation)()
            found |= _results(session, operation)
        return {"results": found | session.defects()}

    def do_close(self) -> dict[str, Any]:
        """Forget every session."""
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()
        gc.collect()
        return {}

    def _values(self, session: Session, call: int) -> np.ndarray:
        """Values of one call: never those of the call before, so that no cache can answer."""
        values = session.problem.members if session.batched else None
        values = session.problem.matrix.data if values is None else values
        return values * (1.0 + call / 1024)

    def _once(self, session: Session, operation: str) -> float:
        self.calls = self.calls % 64 + 1
        members = session.problem.members
        if members is None or session.batched:
            session.prepare(self._values(session, self.calls))
            session.before(operation)
            return _elapsed(getattr(session, operation))
        scale = 1.0 + self.calls / 1024
        return sum(self._member(session, operation, member * scale) for member in members)

    def _member(self, session: Session, operation: str, values: np.ndarray) -> float:
        session.prepare(values)
        if operation not in FROM_VALUES:
            session.factor()
        session.before(operation)
        return _elapsed(getattr(session, operation))


def _elapsed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _results(session: Session, operation: str) -> dict[str, Any]:
    """What the operation just done says about the matrix."""
    places = np.linspace(0, session.problem.n - 1, 5).astype(int)
    match operation:
        case "log_det":
            return {"log_det": session.value()}
        case "solve1" | "solve32":
            return {f"residual_{operation}": _backward_error(session)}
        case "selected_inverse":
            diagonal = session.inverse_diagonal()
            return {} if diagonal is None else {"inverse_diagonal": diagonal[places].tolist()}
        case "value_and_gradient":
            trace = session.gradient_dot_values()
            found = {"gradient_value": session.value()}
            return found if trace is None else found | {"gradient_trace": trace / session.problem.n}
        case _:
            return {}


def _backward_error(session: Session) -> float:
    """max‖A x − b‖ / (‖A‖ ‖x‖ + ‖b‖) over the right-hand sides, in the maximum norm."""
    A, x = session.problem.matrix, session.solution()
    b = session.b[:, : x.shape[1]]
    scale = abs(A).sum(axis=0).max() * abs(x).max(axis=0) + abs(b).max(axis=0)
    return float((abs(A @ x - b).max(axis=0) / scale).max())


def serve(engine: type[Session], versions: Callable[[], dict[str, str]]) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not reach the protocol
    server = Server(engine, versions)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        for line in sys.stdin:
            print(json.dumps(server.answer(json.loads(line)), default=float), file=answers)
