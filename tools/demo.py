import _checkout  # noqa: F401

from pointseg.cli.demo import main

if __name__ == "__main__":
    raise SystemExit(main())
