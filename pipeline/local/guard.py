"""The process between a parent and its child which ends the child when the parent is gone.

Run as a script by `processes.py`: `guard.py PARENT_PID GRACE_S COMMAND ...`. Its standard input is
a pipe that the parent holds open and never writes to; its standard output tells the child's
process id; its standard error is where the child's output goes. Must never import anything of
ours, nor anything slow: one of these runs for each child.
"""

import ctypes
import os
import select
import signal
import sys
import time

LOOK_S = 1.0
"""How often to look whether the parent is still the parent, should a fork have kept its pipe."""


def main() -> int:
    """Run the command until it ends, the pipe closes, or the parent is another one."""
    parent, grace_s, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    child = _start(command)
    _into_own_group(child)
    os.write(1, b"%d\n" % child)
    os.close(1)
    while not stopping:
        status = _ended(child)
        if status is not None:
            _signal_group(child, signal.SIGKILL)
            return status
        ready, _, _ = select.select([0, wake_read], [], [], LOOK_S)
        if wake_read in ready:
            os.read(wake_read, 512)
        if 0 in ready or os.getppid() != parent:
            break
    return _stop(child, grace_s)


def _start(command: list[str]) -> int:
    me = os.getpid()
    # Python's handler would take a signal that the new process is sent before it is the command
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)
        return child
    try:
        _into_own_group(0)
        for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGCHLD", "SIGPIPE"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)
        _die_with(me)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.closerange(3, 65_536)
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"{command[0]} can't be started: {error}\n".encode())
    os._exit(127)


def _into_own_group(child: int) -> None:
    """Make a group of the child (0: of this process): both do, so it is there when either goes on.

    A child that became its command has done so itself.
    """
    try:
        os.setpgid(child, child)
    except (PermissionError, ProcessLookupError):
        return


def _die_with(guard: int) -> None:
    """Let Linux kill this process when the guard is killed; elsewhere only the pipe helps."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL))
    if os.getppid() != guard:
        os._exit(127)


def _ended(child: int) -> "int | None":
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _signal_group(child: int, number: int) -> None:
    try:
        os.killpg(child, number)
    except (ProcessLookupError, PermissionError):
        return


def _stop(child: int, grace_s: float) -> int:
    _signal_group(child, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        status = _ended(child)
        if status is not None:
            _signal_group(child, signal.SIGKILL)
            return status
        time.sleep(0.02)
    _signal_group(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 128 + signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main())
