from pointseg.cli.synthesize_rooms import main

if __name__ == "__main__":
    raise SystemExit(main())
