"""Builds `jailkit._native._ext` with cffi (API mode, stable ABI). Run by setup.py, never imported by the library."""

from __future__ import annotations

import os
import pathlib

from cffi import FFI

HERE = pathlib.Path(__file__).parent
# The names that plans and requests use; the compiler gives their numbers.
CONSTANTS = """
    SYS_capset SYS_chdir SYS_chroot SYS_close_range SYS_fchdir SYS_fchownat SYS_fcntl SYS_fsconfig SYS_fsmount
    SYS_fsopen SYS_fstatfs SYS_ioctl SYS_keyctl SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self SYS_mknodat SYS_mount_setattr SYS_move_mount SYS_open_tree SYS_openat SYS_openat2
    SYS_pivot_root SYS_prctl SYS_seccomp SYS_setgroups SYS_sethostname SYS_setns SYS_setresgid SYS_setresuid SYS_socket
    SYS_statx SYS_umount2 SYS_unshare SYS_write
    KEYCTL_JOIN_SESSION_KEYRING AF_INET SOCK_DGRAM SOCK_CLOEXEC SIOCSIFFLAGS
    AT_FDCWD AT_EMPTY_PATH AT_RECURSIVE AT_SYMLINK_NOFOLLOW
    CLONE_NEWCGROUP CLONE_NEWIPC CLONE_NEWNET CLONE_NEWNS CLONE_NEWPID CLONE_NEWUSER CLONE_NEWUTS
    OPEN_TREE_CLONE OPEN_TREE_CLOEXEC FSOPEN_CLOEXEC FSMOUNT_CLOEXEC O_CLOEXEC F_DUPFD_CLOEXEC
    O_PATH O_DIRECTORY O_NOFOLLOW O_RDONLY O_RDWR O_WRONLY O_CREAT O_TRUNC O_NONBLOCK O_NOCTTY
    MOUNT_ATTR_RDONLY MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC MOUNT_ATTR_IDMAP
    MOUNT_ATTR_NOATIME MOUNT_ATTR_STRICTATIME MOUNT_ATTR_NODIRATIME MOUNT_ATTR_NOSYMFOLLOW MOUNT_ATTR__ATIME
    MS_PRIVATE MS_SHARED MS_SLAVE MS_UNBINDABLE MNT_DETACH
    MOVE_MOUNT_F_EMPTY_PATH MOVE_MOUNT_T_EMPTY_PATH MOVE_MOUNT_F_SYMLINKS MOVE_MOUNT_T_SYMLINKS
    FSCONFIG_SET_FLAG FSCONFIG_SET_STRING FSCONFIG_CMD_CREATE
    RESOLVE_IN_ROOT RESOLVE_BENEATH RESOLVE_NO_SYMLINKS RESOLVE_NO_MAGICLINKS RESOLVE_NO_XDEV
    PR_CAPBSET_DROP PR_CAP_AMBIENT PR_CAP_AMBIENT_RAISE PR_SET_CHILD_SUBREAPER PR_SET_DUMPABLE PR_SET_KEEPCAPS
    PR_SET_NO_NEW_PRIVS PR_SET_PDEATHSIG
    SECCOMP_FILTER_FLAG_NEW_LISTENER SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    PROC_SUPER_MAGIC CGROUP_SUPER_MAGIC CGROUP2_SUPER_MAGIC
    RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_FSIZE RLIMIT_MEMLOCK RLIMIT_MSGQUEUE RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_STACK
    CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_ADMIN
    CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT
""".split()
INCLUDES = """
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#ifndef MNT_DETACH /* <sys/mount.h> has it, but contradicts <linux/mount.h> */
#define MNT_DETACH 2
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV /* headers older than Linux 5.19 */
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
"""

# The headers hold no preprocessor lines, so that the same text serves the compiler and cffi.
DECLARATIONS = (HERE / "abi.h").read_text() + (HERE / "ext.h").read_text()
NUMBERS = "".join(f"#define {name} ...\n" for name in CONSTANTS)

ffi = FFI()
ffi.cdef(NUMBERS + DECLARATIONS)
ffi.set_source(
    "jailkit._native._ext",
    INCLUDES + DECLARATIONS,
    sources=[os.path.relpath(source) for source in sorted((HERE / "ext").glob("*.c"))],
    include_dirs=[os.path.relpath(HERE / "ext")],
    extra_compile_args=[
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-fvisibility=hidden",
        *(["-Werror"] if os.environ.get("JAILKIT_WERROR") == "1" else []),
    ],
)
