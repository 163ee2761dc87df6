"""The runner's side of the protocol: an engine in a process of its own."""

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

from compare.environment import ROOT, environment

LOGS = ROOT / ".cache" / "logs"


class Engine:
    """A running engine; requests that take too long end it, the next one starts it again."""

    def __init__(self, name: str, python: str, threads: int, timeout: float) -> None:
        self.name, self.python, self.threads, self.timeout = name, python, threads, timeout
        self.process: subprocess.Popen[bytes] | None = None
        self.pending = b""

    @property
    def log(self) -> Path:
        """What the engine printed."""
        return LOGS / f"{self.name}-{self.threads}.log"

    def start(self) -> None:
        """Start the process."""
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", f"compare.engines.{self.name}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment(self.threads),
            )
        self.pending = b""

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request; return the answer, or one that says why there is none."""
        if self.process is None:
            self.start()
        try:
            line = json.dumps({"do": do, **request}) + "\n"
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
            answer = self._read_line()
        except BrokenPipeError:
            answer = None
        if answer is None:
            return self._lost(do)
        return json.loads(answer)

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _read_line(self) -> bytes | None:
        output = self.process.stdout.fileno()
        end = time.monotonic() + self.timeout
        while b"\n" not in self.pending:
            ready = select.select([output], [], [], max(0.0, end - time.monotonic()))[0]
            chunk = os.read(output, 1 << 16) if ready else b""
            if not chunk:
                return None
            self.pending += chunk
        line, self.pending = self.pending.split(b"\n", 1)
        return line

    def _lost(self, do: str) -> dict[str, Any]:
        ended = self.process.poll()
        self.stop()
        if ended is None:
            return {"error": f"{do}: no answer in {self.timeout:g} s", "lost": True}
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        return {"error": f"{do}: the process ended ({ended}): {' '.join(last)}", "lost": True}
