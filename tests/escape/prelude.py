"""What every attacking program has at hand: what it is told of the host, and numbers of system calls."""

from __future__ import annotations

__all__ = ["ATTACK"]

ATTACK = """
import signal, socket, struct
C = json.loads(sys.argv[1])
NR.update({name: pair[0 if X86 else 1] for name, pair in dict(
    clone=(56, 220), unshare=(272, 97), setns=(308, 268), mount=(165, 40), umount2=(166, 39), reboot=(169, 142),
    init_module=(175, 105), swapon=(167, 224), swapoff=(168, 225), syslog=(103, 116), settimeofday=(164, 170),
    process_vm_readv=(310, 270), process_vm_writev=(311, 271), kcmp=(312, 272), perf_event_open=(298, 241),
    userfaultfd=(323, 282), fanotify_init=(300, 262), add_key=(248, 217), keyctl=(250, 219), personality=(135, 92),
    open_by_handle_at=(304, 265), name_to_handle_at=(303, 264), prlimit64=(302, 261), tgkill=(234, 131),
    move_pages=(279, 239), migrate_pages=(256, 238), get_mempolicy=(239, 236), acct=(163, 89), socket=(41, 198),
    chroot=(161, 51), sethostname=(170, 161), setdomainname=(171, 162), quotactl=(179, 60), request_key=(249, 218),
    mbind=(237, 235), kexec_load=(246, 104), delete_module=(176, 106), mknodat=(259, 33), fchmodat=(268, 53),
).items()})
NR.update(io_uring_setup=425, fsconfig=431, fspick=433, pidfd_open=434, clone3=435, openat2=437, pidfd_getfd=438,
          process_madvise=440, pidfd_send_signal=424, listmount=458, quotactl_fd=443)

def _refused_early(kind, error, trace):
    "Where files and sockets are out of reach, the first step may be refused already, which is as good."
    if not C.get("bare tier") or not isinstance(error, OSError) or not error.errno:
        return sys.__excepthook__(kind, error, trace)
    say(errno.errorcode[error.errno])
    sys.stdout.flush()
    os._exit(0)

sys.excepthook = _refused_early

def memory(size):
    "Some bytes, and where they are."
    global _kept
    _kept = ctypes.create_string_buffer(size)
    return ctypes.addressof(_kept)

def words(*numbers):
    "An array of 64-bit numbers."
    global _words
    _words = (ctypes.c_uint64 * len(numbers))(*numbers)
    return ctypes.addressof(_words)

def raw(name, *arguments):
    "The result of a system call by number, or minus errno."
    result = libc.syscall(ctypes.c_long(NR[name]),
                          *[ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a or 0) for a in arguments])
    return result if result >= 0 else -ctypes.get_errno()

def reached(name, *arguments, beyond=()):
    "A call that does no harm by itself: whether it was let through to where it looks at its arguments."
    result = raw(name, *arguments)
    word = "POSSIBLE" if result >= 0 else errno.errorcode[-result]
    return "POSSIBLE" if word in beyond else word

def put(path, text):
    "Write to a file that is there; in a control, stop when it is open."
    fd = os.open(path, os.O_WRONLY)
    try:
        C["gentle"] or os.write(fd, text.encode())
    finally:
        os.close(fd)

def found(true):
    return "POSSIBLE" if true else "nothing"

def sings(data):
    "Whether that is what the canary of the host says."
    return found(data.strip() == C["song"].encode())

def reads(way):
    "Read the host's canary on some way: POSSIBLE if it sings."
    try:
        return sings(way() if callable(way) else read(way))
    except OSError as error:
        return errno.errorcode[error.errno]

def child(work):
    "Do something in a child and say what it says."
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_end, str(work()).encode())
        os._exit(0)
    os.close(write_end)
    said = os.read(read_end, 4096).decode()
    os.waitpid(pid, 0)
    return said
"""
