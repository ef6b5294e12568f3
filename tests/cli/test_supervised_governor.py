"""What the supervisor of a governor says, wherever its output goes."""

import subprocess
import sys
import textwrap

SUPERVISED = textwrap.dedent("""
    import os, pathlib, resource, sys
    import psutil
    import typer
    from pipeline.cli import run

    mark, full, room = pathlib.Path(sys.argv[1]), (0, -1), (-1, -1)

    def worker():
        if mark.exists():
            for pid in (os.getppid(), os.getpid()):
                psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, room)
            run._say("the second worker")
            return 0
        mark.touch()
        return 75

    run._supervised_worker, run.surroundings = worker, lambda: None
    resource.setrlimit(resource.RLIMIT_FSIZE, full)
    try:
        run.governor()
    except typer.Exit as ending:
        run._say(f"ended with {ending.exit_code}")
    """)


def test_what_found_no_room_on_a_full_disk_is_not_written_again_by_the_next_worker(tmp_path):
    """It would tell of restarts, each twice, when there were none."""
    log = tmp_path / "log"
    with log.open("ab") as out:
        subprocess.run(
            [sys.executable, "-c", SUPERVISED, str(tmp_path / "mark")],
            stdout=out,
            stderr=out,
            timeout=60,
            check=True,
        )
    assert log.read_text() == "the second worker\nended with 0\n"
