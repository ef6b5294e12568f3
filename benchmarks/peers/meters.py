"""What the kernel of this machine says: CPU of processes and of everything, memory, and quiet."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
QUIET_CORES = 0.15
LOOK_S = 2.0


def cpu_s(pids):
    """Seconds of CPU that these processes have used so far; those that are gone count nothing."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def machine_s():
    """Seconds of CPU that everything on the machine has used so far."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        fields = [int(text) for text in file.readline().split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / TICKS


def peak_rss_mib(pid):
    """The most memory that a process has held, in MiB; None: it is gone."""
    return _status_mib(pid, "VmHWM:")


def rss_mib(pid):
    """The memory that a process holds now, in MiB; None: it is gone."""
    return _status_mib(pid, "VmRSS:")


def _status_mib(pid, name):
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return None
    kib = next((line.split()[1] for line in text.splitlines() if line.startswith(name)), None)
    return None if kib is None else int(kib) / 1024


def wait_quiet(own, limit_s):
    """Wait until the rest of the machine does next to nothing, `limit_s` at most.

    Args:
        own: processes that don't count.
        limit_s: how long to wait; 0: not at all.

    Returns:
        Cores that the rest used at the last look.

    """
    until = time.monotonic() + limit_s
    while limit_s:
        before = machine_s() - cpu_s(own)
        began = time.monotonic()
        time.sleep(LOOK_S)
        cores = (machine_s() - cpu_s(own) - before) / (time.monotonic() - began)
        if cores < QUIET_CORES or time.monotonic() > until:
            return max(0.0, cores)
    return 0.0


def machine():
    """What this machine is, for the record."""
    model = ""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions(*packages):
    """Versions of installed Python packages."""
    return {name: version(name) for name in packages}
