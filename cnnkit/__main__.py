"""`python -m cnnkit`."""

from cnnkit.cli import main

if __name__ == "__main__":
    main()
