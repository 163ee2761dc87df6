"""Write docs/benchmarks.md and its roofline picture from results files.

python benchmarks/report_page.py benchmarks/results/2025-01-31-some-cpu.json
python benchmarks/report_page.py RESULTS.json --print      # tables and bars only
"""

import argparse
from pathlib import Path

from report.bars import print_bars
from report.page import write
from report.results import Results
from report.tables import print_tables

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Read the command line, write or print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+", help="one per thread count, or one")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--print", action="store_true", help="print instead of writing")
    options = parser.parse_args()
    results = Results.read(*options.results)
    if options.print:
        print_tables(results.data)
        print_bars(results.data)
        return
    source = "`, `".join(f"benchmarks/results/{path.name}" for path in options.results)
    write(results, source, options.page)
    print(f"written: {options.page}")


if __name__ == "__main__":
    main()
