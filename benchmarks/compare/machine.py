"""What a result was measured on."""

import datetime as dt
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any


def _field(path: str, name: str) -> str:
    try:
        text = Path(path).read_text()
    except OSError:
        return ""
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load."""
    info = "/proc/cpuinfo"
    flags = _field(info, "flags").split()
    memory = _field("/proc/meminfo", "MemTotal").split()
    return {
        "cpu": _field(info, "model name") or platform.processor(),
        "family_model_stepping": [_field(info, f) for f in ("cpu family", "model", "stepping")],
        "cache": _field(info, "cache size"),
        "cores": os.cpu_count(),
        "avx512": "avx512f" in flags,
        "memory_gib": round(int(memory[0]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "load": os.getloadavg(),
    }


def occasion() -> dict[str, str]:
    """When something was measured, and the commit of the checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    now = dt.datetime.now(dt.UTC).isoformat(timespec="minutes")
    return {"measured": now, "commit": commit or "unknown"}


def file_name(about: dict[str, Any]) -> str:
    """`<date>-<cpu>.json`."""
    cpu = re.sub(r"\((r|tm)\)|cpu|processor|core", "", about["cpu"].lower())
    cpu = re.sub(r"[^a-z0-9.]+", "-", cpu).strip("-")
    return f"{dt.date.today().isoformat()}-{cpu}.json"
