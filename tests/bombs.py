"""Programs that take memory, each in another way."""

from __future__ import annotations

__all__ = ["BOMBS"]

_BOMBS = {
    "anonymous": """
        import sys
        kept = [b"x" * (1 << 20) for _ in range(int(sys.argv[1]))]
        """,
    "in children": """
        import os, sys, time
        hear, tell = os.pipe()
        for _ in range(4):
            if os.fork() == 0:
                kept = [b"x" * (1 << 20) for _ in range(int(sys.argv[1]) // 4)]
                os.write(tell, b"x")
                os.close(tell)
                time.sleep(1000)
        os.close(tell)
        assert b"".join(iter(lambda: os.read(hear, 9), b"")) == b"xxxx"
        """,
    "tmpfs": """
        import sys
        with open("/tmp/file", "wb") as file:
            for _ in range(int(sys.argv[1])):
                file.write(b"x" * (1 << 20))
        """,
    "shared memory": """
        import sys
        with open("/dev/shm/file", "wb") as file:
            for _ in range(int(sys.argv[1])):
                file.write(b"x" * (1 << 20))
        """,
    "memfd": """
        import os, sys
        fd = os.memfd_create("bomb")
        for _ in range(int(sys.argv[1])):
            os.write(fd, b"x" * (1 << 20))
        """,
    "shared mapping": """
        import mmap, sys
        shared = mmap.mmap(-1, int(sys.argv[1]) << 20)
        for at in range(0, len(shared), 4096):
            shared[at] = 1
        """,
}
BOMBS = {kind: f"{code}\n        print('POSSIBLE')\n" for kind, code in _BOMBS.items()}
"""Each takes as many MiB as its argument says and then prints that it could."""
