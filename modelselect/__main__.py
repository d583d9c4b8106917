"""`python -m modelselect` is the command `modelselect`."""

from modelselect.cli import main

if __name__ == "__main__":
    main()
