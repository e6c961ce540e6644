"""Calls home: TCP, UDP, a UNIX socket by abstract name and by path, and an address elsewhere.

The demo listens on the first four, on the host, and gives their addresses away. The last address is
TEST-NET-1 (RFC 5737), which belongs to nobody.
"""

import errno
import os
import socket

TCP = ("127.0.0.1", int(os.environ.get("HOST_TCP", "9")))
UDP = ("127.0.0.1", int(os.environ.get("HOST_UDP", "9")))
ABSTRACT = "\0" + os.environ.get("HOST_ABSTRACT", "jailkit-nobody")
PATH = os.environ.get("HOST_SOCKET", "/nonexistent")


def dial(family, kind, address):
    with socket.socket(family, kind) as line:
        line.settimeout(0.3)
        try:
            line.connect(address)
            line.send(b"hello from inside")
            if kind == socket.SOCK_DGRAM:
                line.recv(1)  # where nobody listens, this is ECONNREFUSED
        except TimeoutError:
            return "sent, no answer"  # the network took it
        except OSError as error:
            return errno.errorcode.get(error.errno, str(error.errno))
        return "connected"


answers = {
    "tcp": dial(socket.AF_INET, socket.SOCK_STREAM, TCP),
    "udp": dial(socket.AF_INET, socket.SOCK_DGRAM, UDP),
    "abstract": dial(socket.AF_UNIX, socket.SOCK_STREAM, ABSTRACT),
    "path": dial(socket.AF_UNIX, socket.SOCK_STREAM, PATH),
    "elsewhere": dial(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)),
}
reached = sum(answer[0].islower() for answer in answers.values())
print(f"{'ESCAPED: ' if reached else ''}{reached} of {len(answers)} reached: ", end="")
print(", ".join(f"{name} {answer}" for name, answer in answers.items()))
