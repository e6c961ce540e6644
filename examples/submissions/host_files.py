"""Looks for the files of the host: passwords, the demo's own secret, disks and memory.

It prints names and numbers only, never what it read.
"""

import os

# The demo tells the attacker where its secret is: hiding the path is no protection.
SECRET = os.environ.get("HOST_SECRET", "/nonexistent")
TARGETS = [
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/ssh/ssh_host_ed25519_key",
    "../../../../../../../../etc/shadow",
    "/proc/1/root/etc/shadow",
    "/proc/1/cwd/etc/shadow",
    SECRET,
    "/proc/1/root" + SECRET,
    "/proc/self/root" + SECRET,
    "/dev/mem",
    "/dev/sda",
    "/dev/vda",
    "/dev/nvme0n1",
    "/proc/kcore",
]


def readable(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return len(file.read(64)) > 0
    except OSError:
        return False


found = [path for path in TARGETS if readable(path)]
found += [f"/root ({len(os.listdir('/root'))} names)"] if os.access("/root", os.R_OK) and os.listdir("/root") else []
print("ESCAPED: read " + ", ".join(found) if found else f"none of {len(TARGETS)} files can be read")
