"""Programs that mean harm do none, and none of them passes."""

import ctypes
import ctypes.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from vertical_assets.evaluation.instruction import sandbox
from vertical_assets.evaluation.instruction.confinement import (
    CALLS_LEFT,
    PROTECTIONS,
    SOME_LEFT,
)
from vertical_assets.evaluation.instruction.sandbox import (
    Limits,
    SandboxError,
    Verdict,
    run_answer,
    run_program,
)

pytestmark = pytest.mark.usefixtures("confined")

REFERENCE = "def twice(x):\n    return 2 * x\n"
TEST = (
    "def check(candidate):\n    assert candidate(2) == twice_of_two\n    assert candidate(4) == 8\n"
)
TEST = f"twice_of_two = 4\n\n\n{TEST}"
LIMITS = Limits(timeout_s=1.0, memory_mb=256, output_kb=16)


def run(program: str, test: str = TEST, limits: Limits = LIMITS) -> Verdict:
    return run_program(program, reference=REFERENCE, entry_point="twice", test=test, limits=limits)


def running(body: str) -> Verdict:
    """Of a program whose function first does this, and then answers rightly."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return run(f"def twice(x):\n{lines}    return 2 * x\n")


def succeeding(*attempts: str) -> list[str]:
    """Those of these attempts, made one after another in one program, that raise nothing."""
    program = """
def twice(attempts):
    done = []
    for each in attempts:
        try:
            exec(each, {})
        except BaseException:
            continue
        done.append(each)
    return done
"""
    assert run(program, "def check(candidate):\n    assert candidate(['1']) == ['1']\n").passed
    test = f"""
def check(candidate):
    done = candidate({list(attempts)!r})
    assert not done, done
"""
    verdict = run(program, test)
    return [] if verdict.passed else [str(verdict.error)]


def test_a_right_program_passes_and_says_what_held() -> None:
    verdict = run(REFERENCE)
    assert verdict.passed, verdict.error
    assert set(verdict.held) == set(PROTECTIONS)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        (
            "def twice(x):\n    return x\n",
            "AssertionError in `assert candidate(2) == twice_of_two`",
        ),
        ("def twice(x):\n    return x / 0\n", "ZeroDivisionError: division by zero"),
        ("def twice(x)\n", "SyntaxError"),
        ("def thrice(x):\n    return 3 * x\n", "KeyError: \"'twice'\""),
        ("def twice(x):\n    return print\n", "is no plain data"),
    ],
)
def test_a_wrong_program_is_told_why(program: str, error: str) -> None:
    verdict = run(program)
    assert not verdict.passed
    assert error in str(verdict.error)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("while True: pass", "time: more than 1 s"),
        ("import time; time.sleep(60)", "time: more than 1 s"),
        ("while True: print('flood' * 1000)", "output: more than 16 KB"),
        ("held = bytearray(1 << 32)", "MemoryError"),
        ("held = []\nwhile True: held.append(bytearray(1 << 20))", "MemoryError"),
        (
            "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()",
            "files: more than",
        ),
        ("with open('a', 'w') as file: file.write('x' * (1 << 23))", "File too large"),
    ],
)
def test_what_it_may_use_is_limited(body: str, error: str) -> None:
    began = time.monotonic()
    verdict = running(body)
    assert not verdict.passed
    assert error in str(verdict.error)
    assert time.monotonic() - began < 10


def test_it_starts_nothing_and_touches_no_process() -> None:
    done = succeeding(
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import multiprocessing; multiprocessing.Process(target=print).start()",
        "import threading\nwhile True: threading.Thread(target=print).start()",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.kill(os.getppid(), 9)",
        "import os, signal; os.killpg(os.getpgid(os.getppid()), signal.SIGTERM)",
        "import resource, os; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
        "import fcntl, os; fcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())",
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
        "import os; os.setuid(0)",
        "import os; os.chroot('.')",
    )
    assert done == []


def test_files_outside_stay_as_they_are(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("ours", "utf-8")
    os.utime(kept, (1e9, 1e9))
    before = kept.stat()
    name = repr(str(kept))
    done = succeeding(
        f"import os; os.remove({name})",
        f"open({name}, 'w').close()",
        f"open({name}, 'a').close()",
        f"import os; os.truncate({name}, 0)",
        f"import os; os.rename({name}, 'mine')",
        f"import os; os.link({name}, 'mine')",
        f"import os; os.chmod({name}, 0)",
        f"import os; os.chown({name}, 1, 1)",
        f"import os; os.utime({name})",
        f"import os; os.setxattr({name}, 'user.mine', b'1')",
        f"import shutil; shutil.rmtree({str(tmp_path)!r})",
        f"open({str(tmp_path / 'new.txt')!r}, 'w').close()",
        "open('/dev/shm/new', 'w').close()",
        f"open({name}).read()",
        "import os; os.symlink('/etc', 'etc')",
        "import os; os.mkdir('folder')",
    )
    assert done == []
    after = kept.stat()
    assert list(tmp_path.iterdir()) == [kept]
    assert (after.st_mtime, after.st_mode, after.st_uid) == (1e9, before.st_mode, before.st_uid)
    assert kept.read_text("utf-8") == "ours"


def test_it_has_an_empty_folder_that_goes_with_it() -> None:
    verdict = running(
        "import os\nassert os.listdir() == [], os.listdir()\n"
        "with open('a', 'w') as file: file.write('b')\n"
        "assert open('a').read() == 'b'\nos.rename('a', 'b')\nos.remove('b')\n"
        "raise OSError(os.getcwd())"
    )
    folder = str(verdict.error).split()[1]
    assert folder.startswith(tempfile.gettempdir())
    assert not Path(folder).exists()


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(
            ("127.0.0.1", port), timeout=1
        ):  # it can be reached from here
            server.accept()[0].close()
        verdict = running(f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)")
        assert not verdict.passed
        assert "Operation not permitted" in str(verdict.error)
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()
    assert not running("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)").passed
    assert not running("import socket; socket.socket(socket.AF_UNIX)").passed


def test_secrets_of_the_environment_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTICAL_SECRET", "swordfish")
    there = running("import os; raise OSError(' '.join(os.environ))")
    assert set(str(there.error).split()[1:3]) == {"PYTHONHASHSEED", "LC_ALL"}
    for process in ("self", str(os.getpid())):
        read = running(f"raise OSError(open('/proc/{process}/environ').read())")
        assert "swordfish" not in str(read.error)
        assert "Permission denied" in str(read.error)


def test_no_descriptor_of_ours_is_open() -> None:
    with tempfile.TemporaryFile() as ours:
        os.set_inheritable(ours.fileno(), True)
        # Those of a program: nothing, its output twice, and the socket to its test.
        verdict = running(
            "import os\nopened = []\nfor each in range(64):\n"
            "    try: opened.append(os.fstat(each) and each)\n    except OSError: pass\n"
            "raise OSError(len(opened))"
        )
    assert str(verdict.error).startswith("OSError: 5 ")  # and /dev/null, which 0 is a copy of


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nsys.exit(0)\n",
        "import os\nos._exit(0)\n",
        "import os\n\n\ndef twice(x):\n    os._exit(0)\n",
        "import sys\n\n\ndef twice(x):\n    sys.exit(0)\n",
        "class Any(int):\n    def __eq__(self, other):\n        return True\n\n\n"
        "def twice(x):\n    return Any()\n",
        "import builtins\nbuiltins.AssertionError = Exception\n\n\ndef twice(x):\n    return 5\n",
        "import builtins, sys\nsys.settrace(lambda *_: None)\nbuiltins.compile = builtins.exec = "
        "lambda *_: None\n\n\ndef check(candidate):\n    pass\n\n\ndef twice(x):\n    return 5\n",
        'import os\nfor each in range(64):\n    try:\n        os.write(each, b\'{"passed": true, '
        '"error": null}\\n\')\n    except OSError:\n        pass\nos._exit(0)\n',
        "def twice(x):\n    raise AssertionError\n",
        "def twice(x):\n    raise SystemExit(0)\n",
        # All that its own interpreter knows: the reference is not in it.
        "import gc\n\n\ndef twice(x):\n    for each in gc.get_objects():\n"
        "        if isinstance(each, dict) and 'reference' in each:\n"
        "            names = {}\n            exec(each['reference'], names)\n"
        "            return names['twice'](x)\n",
        "import sys\n\n\ndef twice(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for each in list(frame.f_locals.values()):\n"
        "            if isinstance(each, dict) and 'reference' in each:\n"
        "                names = {}\n                exec(each['reference'], names)\n"
        "                return names['twice'](x)\n        frame = frame.f_back\n",
    ],
)
def test_a_program_can_not_pass_by_a_trick(program: str) -> None:
    assert not run(program).passed


def test_errors_reach_the_test_as_what_they_are() -> None:
    raises = (
        "def check(candidate):\n    try:\n        candidate(-1)\n    except ValueError as error:\n"
        "        assert str(error) == 'negative'\n    else:\n        raise AssertionError\n"
    )
    assert run("def twice(x):\n    raise ValueError('negative')\n", raises).passed
    assert not run(REFERENCE, raises).passed
    assert not run("def twice(x):\n    raise KeyError('negative')\n", raises).passed


def test_plain_data_goes_there_and_back() -> None:
    values = (
        "(1, -2.5, float('inf'), True, None, 'é\\ud800', b'\\x00', 10**5000, 1j, [], {}, "
        "{1: (2,), (3, 4): [{5}]}, frozenset({6}), {'list': [7], 'tuple': 8})"
    )
    test = f"def check(candidate):\n    given = {values}\n    assert candidate(given) == given\n"
    assert run("def twice(x):\n    assert x == " + values + "\n    return x\n", test).passed


def test_the_test_may_use_what_the_prompt_defines() -> None:
    inverse = (
        "def check(candidate):\n    assert half(candidate(3)) == 3\n    assert twice(1) == 2\n"
    )
    reference = f"def half(x):\n    return x / 2\n\n\n{REFERENCE}"
    for program, passes in ((REFERENCE, True), ("def twice(x):\n    return 6\n", False)):
        verdict = run_program(
            program, reference=reference, entry_point="twice", test=inverse, limits=LIMITS
        )
        assert verdict.passed == passes, verdict.error


def test_a_text_is_looked_at() -> None:
    test = "def check(answer):\n    assert 'Paris' in answer\n"
    assert run_answer("It is Paris.", test=test, limits=LIMITS).passed
    assert not run_answer("It is Rome.", test=test, limits=LIMITS).passed
    assert not run_answer("x", test="def check(answer):\n    exit()\n", limits=LIMITS).passed


def test_nothing_runs_where_a_protection_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter under which the kernel, as it seems, has no Landlock."""
    start = sandbox.START.replace(
        "main()",
        "import vertical_assets.evaluation.instruction.confinement as c; "
        "c._CREATE_RULESET = 100000; main()",
    )
    monkeypatch.setattr(sandbox, "START", start)
    with pytest.raises(SandboxError, match=r"no protection of files .*allow_unprotected"):
        run(REFERENCE)
    trusting = Limits(timeout_s=1.0, allow_unprotected=True)
    verdict = run(REFERENCE, limits=trusting)
    assert verdict.passed
    assert set(verdict.held) == {"user", "system calls"}


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = (
        "from vertical_assets_tests.evaluation.instruction.test_sandbox import Limits, run\n"
        "run('import time\\ntime.sleep(60)\\n', limits=Limits(timeout_s=60.0))\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # a killed process leaves its folder
    )
    try:
        parent = psutil.Process(starter.pid)
        until = time.monotonic() + 30
        while len(started := parent.children()) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(started) == 2
        time.sleep(0.3)  # they have given up their rights by now
    finally:
        starter.kill()
        starter.wait()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive


@pytest.mark.parametrize(
    ("column", "architecture"), [(0, 0xC000003E), (1, 0xC00000B7)], ids=["x86_64", "aarch64"]
)
def test_system_calls_have_the_numbers_of_libseccomp(column: int, architecture: int) -> None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(name).seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    numbers = {**CALLS_LEFT, **{call: each[0] for call, each in SOME_LEFT.items()}}
    for call, ours in numbers.items():
        number = resolve(architecture, call.encode())
        assert ours[column] == (number if number >= 0 else None), call


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_it_holds_for_root_and_for_others(user: str) -> None:
    """With an interpreter that everybody may run, root's programs run as nobody."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from vertical_assets.evaluation.instruction.sandbox import Limits, run_program\n"
        "import os, tempfile\n"
        "number, name = tempfile.mkstemp()\n"
        "program = f'import os\\ndef f(x):\\n    os.remove({name!r})\\n'\n"
        "verdict = run_program(program, reference='def f(x): pass', entry_point='f',\n"
        "    test='def check(f): f(1)', limits=Limits())\n"
        "assert not verdict.passed and os.path.exists(name), verdict\n"
        "os.remove(name)\n"
        "print(verdict.held['user'])\n"
    )
    uid = 65534 if user == "nobody" else 0
    readable = all(each.stat().st_mode & 0o005 == 0o005 for each in Path.cwd().parents)
    if python is None or not readable:
        pytest.skip("there is no python3, or no project, that every user may read")
    probe = subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])
    if probe.returncode:
        pytest.skip(f"{python} is older than {sys.version_info[:2]}")
    done = subprocess.run(
        [python, "-B", "-c", script],
        user=uid,
        group=uid,
        extra_groups=[],
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "user 65534 without capabilities"
