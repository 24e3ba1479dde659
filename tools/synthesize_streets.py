from pointseg.cli.synthesize_streets import main

if __name__ == "__main__":
    raise SystemExit(main())
