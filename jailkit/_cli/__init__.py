"""The command ``jailkit``: a shell's way to the public names of the library, and to nothing else.

`options` says what may be asked for, `values` reads each word, `command` does it, `signals` hands signals on and
`output` prints.
"""

from jailkit._cli.command import main

__all__ = ["main"]
