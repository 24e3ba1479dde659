import _checkout  # noqa: F401

from pointseg.cli.gpu_check import main

if __name__ == "__main__":
    raise SystemExit(main())
