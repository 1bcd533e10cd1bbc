"""Rights that a process gives up for good: files, system calls, user, resources.

Needs no root, and holds for root. Landlock limits what may be opened, made and removed. A seccomp
filter lists the system calls that are left: there is none that makes a socket, a process or a
thread, sends a signal, runs a program, or changes a file's mode or owner (which Landlock does not
govern). Only the standard library is imported, since this runs inside the sandbox.
"""

import contextlib
import ctypes
import os
import resource
import struct
from collections.abc import Sequence
from pathlib import Path

FILES, CALLS, USER = "files", "system calls", "user"
PROTECTIONS = (FILES, CALLS, USER)
NOBODY = 65534

# linux/prctl.h
_PDEATHSIG, _NO_NEW_PRIVS, _SET_SECCOMP, _FILTER_MODE = 1, 38, 22, 2
_SIGKILL = 9
# linux/landlock.h, landlock(7)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _VERSION, _PATH_BENEATH = 444, 445, 446, 1, 1
_WRITE, _READ, _LIST, _REMOVE, _MAKE, _TRUNCATE = (1 << bit for bit in (1, 2, 3, 5, 8, 14))
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights an ABI knows; 16 from 5 on
# No folders and no links: a sandbox's folder is flat, so that it can always be removed.
_OWN_FOLDER = _WRITE | _READ | _LIST | _REMOVE | _MAKE | _TRUNCATE
# linux/seccomp.h, linux/audit.h, linux/bpf_common.h
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # 1: EPERM
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# System calls that stay: name -> number on x86_64 (asm/unistd_64.h) and on aarch64
# (asm-generic/unistd.h), None where there is none.
CALLS_LEFT: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "close": (3, 57),
    "lseek": (8, 62),
    "open": (2, None),
    "openat": (257, 56),
    "stat": (4, None),
    "lstat": (6, None),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "ftruncate": (77, 46),
    "fsync": (74, 82),
    "umask": (95, 166),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "futex": (202, 98),
    "membarrier": (324, 283),
    "getrandom": (318, 278),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "getitimer": (36, 102),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "set_robust_list": (273, 99),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# And some by one argument: its place and the values that it may have. fcntl could have signals
# sent to others (F_SETOWN); prlimit64 could limit others.
SOME_LEFT: dict[str, tuple[tuple[int, int], int, tuple[int, ...]]] = {
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 1030)),  # F_DUPFD to F_SETFL, F_DUPFD_CLOEXEC
    "ioctl": ((16, 29), 1, (0x5401, 0x5450, 0x5451)),  # TCGETS, FIONCLEX, FIOCLEX
    "prlimit64": ((302, 261), 0, (0,)),  # oneself
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def confine(
    folder: str | None,
    readable: Sequence[str],
    *,
    seconds: int,
    memory: int,
    file_size: int,
    become_nobody: bool,
) -> dict[str, str]:
    """Gives up all rights but those to read `readable` and to keep files in `folder`.

    Args:
        folder: an existing folder that becomes the current one; None: nothing can be written.
        readable: files and folders; what does not exist is passed over.
        seconds: of processor time, after which the kernel ends the process.
        memory: bytes of address space.
        file_size: bytes of the largest file.
        become_nobody: for root, to become nobody; otherwise it stays root without capabilities.

    Returns:
        Those of PROTECTIONS that hold, and how. The caller decides whether they are enough.
    """
    os.chdir(folder or "/")
    if become_nobody and os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # a root that may not become anybody
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    held = {}
    # An empty capability set, twice 32 bits of effective, permitted and inheritable (capset(2)).
    if not _libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24)):
        root = os.geteuid() == 0
        held[USER] = ("root" if root else f"user {os.geteuid()}") + " without capabilities"
    _libc.prctl(_PDEATHSIG, _SIGKILL, 0, 0, 0)  # what started it has died
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    if _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return held
    abi = _restrict_files(folder, readable)
    if abi is not None:
        held[FILES] = f"Landlock, ABI {abi}"
    if _restrict_calls():
        held[CALLS] = "seccomp"
    return held


def _restrict_files(folder: str | None, readable: Sequence[str]) -> int | None:
    """ABI of Landlock, or None where the kernel has none (before 5.13, or not switched on)."""
    abi = _libc.syscall(_CREATE_RULESET, None, 0, _VERSION)
    if abi < 1:
        return None
    handled = (1 << _RIGHTS.get(abi, 16)) - 1
    ruleset = _libc.syscall(_CREATE_RULESET, struct.pack("=Q", handled), 8, 0)
    rights = [(path, _READ | (_LIST if Path(path).is_dir() else 0)) for path in readable]
    for path, right in [*rights, *([(folder, _OWN_FOLDER)] if folder else [])]:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rule = struct.pack("=Qi", right & handled, opened)
        if _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0):
            raise OSError(ctypes.get_errno(), f"Landlock took no rule for {path}")
        os.close(opened)
    refused = _libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return None if refused else abi


def _restrict_calls() -> bool:
    """Whether the filter is in place; not on processors whose numbers are not known here."""
    known = _ARCHITECTURES.get(os.uname().machine)
    if known is None:
        return False
    program = seccomp_program(*known)
    instructions = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count, and where the instructions are.
    filter_ = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    return not _libc.prctl(_SET_SECCOMP, _FILTER_MODE, filter_, 0, 0)


def seccomp_program(column: int, architecture: int) -> bytes:
    """The filter as classic BPF: instructions of 8 bytes, over struct seccomp_data.

    Args:
        column: of the numbers in CALLS_LEFT.
        architecture: AUDIT_ARCH_* of the processor.
    """

    def instruction(code: int, value: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, jump_true, jump_false, value)

    def load(offset: int) -> bytes:
        return instruction(_LOAD, offset)

    allow = instruction(_RETURN, _ALLOW)
    # struct seccomp_data: number at 0, architecture at 4, arguments of 8 bytes from 16 on.
    parts = [load(4), instruction(_EQUAL, architecture, 1, 0), instruction(_RETURN, _KILL), load(0)]
    for numbers in CALLS_LEFT.values():
        number = numbers[column]
        if number is not None:
            parts += [instruction(_EQUAL, number, 0, 1), allow]
    for columns, argument, values in SOME_LEFT.values():
        parts += [instruction(_EQUAL, columns[column], 0, 2 * len(values) + 2)]
        parts += [load(16 + 8 * argument)]  # its lower half: these are 32 bits wide
        for value in values:
            parts += [instruction(_EQUAL, value, 0, 1), allow]
        parts += [instruction(_RETURN, _DENY)]
    return b"".join([*parts, instruction(_RETURN, _DENY)])
