"""`python -m pointseg`: the `pointseg` command."""

from __future__ import annotations

from pointseg.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
