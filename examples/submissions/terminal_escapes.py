"""Attacks the reader: clears the screen, changes the title and rewrites its own line of the table."""

import sys

sys.stdout.write("\x1b[2J\x1b]0;owned\x07\x1b[1A\x1b[31maccepted\x1b[0m\r\u202eaccepted\n")
