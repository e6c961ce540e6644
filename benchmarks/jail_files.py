"""What every launcher here is asked to put into its jail."""

from __future__ import annotations

TMPFS_BYTES = 256 * 1024 * 1024
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\njail:x:1000:1000:jail:/home/jail:/bin/sh\n",
    "group": "root:x:0:\njail:x:1000:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 jail\n",
    "hostname": "jail\n",
}
