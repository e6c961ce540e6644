"""``python -m jailkit``: the command ``jailkit``."""

from __future__ import annotations

import sys

from jailkit._cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
