import _checkout  # noqa: F401

from pointseg.cli.report import main

if __name__ == "__main__":
    raise SystemExit(main())
