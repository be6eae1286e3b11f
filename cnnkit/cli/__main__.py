"""`python -m cnnkit.cli`."""

from cnnkit.cli import main

if __name__ == "__main__":
    main()
