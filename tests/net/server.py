"""What answers in the namespaces of a test bed: a web server and a name server, in one process.

Its arguments are the names that the name server knows, as ``name=address``; prints a line when it listens.
"""

import http.server
import socket
import struct
import sys
import threading

NAMES = dict(word.split("=", 1) for word in sys.argv[1:])


class Web(http.server.ThreadingHTTPServer):
    """Listens on every IPv4 and IPv6 address there is."""

    address_family = socket.AF_INET6
    request_queue_size = 128

    def server_bind(self) -> None:
        """Take IPv4 as well."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Hello(http.server.BaseHTTPRequestHandler):
    """Tells who called, at which address."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        caller, here = self.client_address[0], self.connection.getsockname()[0]
        size = 1 << 22 if self.path == "/large" else 0
        body = f"caller={caller.removeprefix('::ffff:')} here={here.removeprefix('::ffff:')}\n".encode() + bytes(size)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Read it all, and answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def answer(query: bytes) -> bytes:
    """Answer one question with one address, or with none."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack_from(">H", query, at + 1)[0]
    address = NAMES.get(".".join(labels).lower())
    family, right = (socket.AF_INET6, kind == 28) if address and ":" in address else (socket.AF_INET, kind == 1)
    data = socket.inet_pton(family, address) if address and right else b""
    found = struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(data)) + data if data else b""
    flags = 0x8180 if address else 0x8183
    return query[:2] + struct.pack(">HHHHH", flags, 1, bool(found), 0, 0) + query[12 : at + 5] + found


def names(sock: socket.socket) -> None:
    """Serve names for ever."""
    while True:
        query, caller = sock.recvfrom(512)
        sock.sendto(answer(query), caller)


# The answer has to come from the address that was asked: a socket for each.
for address in ("203.0.113.53", "192.168.50.53", "2001:db8:1::53"):
    try:
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((address, 53))
    except OSError:
        continue
    threading.Thread(target=names, args=(one,), daemon=True).start()
web = Web(("::", 80), Hello)
threading.Thread(target=Web(("::", 8443), Hello).serve_forever, daemon=True).start()
print("ready", flush=True)
web.serve_forever()
