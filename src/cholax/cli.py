"""The `cholax` command."""

import argparse
import sys
from collections.abc import Sequence

from cholax.demo import __main__ as demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Dispatch to a subcommand; its return value is the exit status."""
    parser = argparse.ArgumentParser(
        prog="cholax", description="Differentiable sparse Cholesky for JAX."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo.add_arguments(commands.add_parser("demo", help="fit a spatial model to real data"))
    options = parser.parse_args(arguments)
    match options.command:
        case "demo":
            return demo.run(options.output, quiet=options.quiet)
        case unknown:
            raise AssertionError(f"cli: {unknown} was parsed but is not handled")


if __name__ == "__main__":
    sys.exit(main())
