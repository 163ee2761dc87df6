"""Make the virtual environment of the peers.

python3.13 benchmarks/compare/make_environment.py
python3.13 benchmarks/compare/make_environment.py SOMEWHERE_ELSE

A package that does not install is reported and left out: the comparison skips its engine.
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parent / ".cache" / "peers"


def requirements() -> list[str]:
    """The lines of requirements.txt without comments."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return [text for line in lines if (text := line.split("#")[0].strip())]


def main() -> int:
    """Make it; 1 where something did not install."""
    if sys.version_info < (3, 12):
        print("sparsax, which carries CHOLMOD 5.3, needs Python 3.12 or newer.")
        return 1
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    failed = []
    for requirement in requirements():
        command = [str(python), "-m", "pip", "install", "--quiet", requirement]
        if subprocess.run(command, check=False).returncode:
            failed.append(requirement)
    print(f"peers: {python}" + (f"; not installed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
