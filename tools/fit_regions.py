import _checkout  # noqa: F401

from pointseg.cli.fit_regions import main

if __name__ == "__main__":
    raise SystemExit(main())
