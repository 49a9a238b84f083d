"""`python -m tilecast`: the command where the package is not installed, a borrowed GPU host, say."""

from tilecast.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
