"""`python -m tiny_listener` is `tiny-listener`."""

from .cli import main

if __name__ == "__main__":
    main()
