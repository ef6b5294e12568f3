"""A whole audit needs no more memory over a long ledger than over a short one.

Ten times the records may cost a few MiB: pages and buffers that are not full yet. What comes after
them, over millions, is for `python -m benchmarks.verify.cost`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT, LONG = 2_500, 25_000
GROWTH_KIB_MAX = 6 * 1_024

WRITE = """
import sys, pathlib
from benchmarks.verify import filed_topics
filed_topics.write(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
"""
# VmHWM, not ru_maxrss: that one begins with what the process that started this one had
AUDIT = """
import sys, pathlib
from benchmarks.verify.filed_topics import FiledTopics
from pipeline.contract import topics
from pipeline.operations.verify import Audit, verify
folder = pathlib.Path(sys.argv[1])
report = verify(FiledTopics(folder), topics.load(), Audit(folder / "spill"))
assert report.clean, report.violations
told = pathlib.Path("/proc/self/status").read_text()
peak = next(line for line in told.splitlines() if line.startswith("VmHWM"))
print(report.records, peak.split()[1])
"""


def python(script, *arguments):
    command = [sys.executable, "-c", script, *[str(item) for item in arguments]]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def audited(folder, events):
    """Records of a ledger, and the most KiB that a process had in memory which audited it."""
    python(WRITE, folder, events)
    records, peak_kib = python(AUDIT, folder).split()
    return int(records), int(peak_kib)


@pytest.mark.skipif(sys.platform != "linux", reason="a process's own peak is read from /proc")
def test_memory_does_not_grow_with_the_ledger(tmp_path):
    few, short_kib = audited(tmp_path / "short", SHORT)
    many, long_kib = audited(tmp_path / "long", LONG)
    assert many > 9 * few
    assert long_kib - short_kib < GROWTH_KIB_MAX
