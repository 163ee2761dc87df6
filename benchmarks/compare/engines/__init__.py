"""One file per engine, each a `Session`; run as `python -m compare.engines.NAME`."""
