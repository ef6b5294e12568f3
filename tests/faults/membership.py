"""Runs a worker as a static or a dynamic member of its group: `membership.py dynamic -- run …`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pipeline.cli.main import main
from pipeline.lane.config import LaneConfig
from pipeline.streams import governor


def as_member(kind: str) -> None:
    """Have the governors of this process be members of this kind."""

    @dataclass(frozen=True)
    class Membership(LaneConfig):
        """The lane's settings with another kind of membership."""

        static_membership: bool = kind == "static"

    governor.LaneConfig = Membership


if __name__ == "__main__":
    wanted, _, *command = sys.argv[1:]
    as_member(wanted)
    sys.argv = ["milepost", *command]
    main()
