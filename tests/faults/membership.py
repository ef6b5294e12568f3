"""Runs a worker as a static or a dynamic member of its group: `membership.py dynamic -- run …`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pipeline.cli.main import main
from pipeline.lane.config import LaneConfig
from pipeline.streams import governor

KIND, _, *COMMAND = sys.argv[1:]


@dataclass(frozen=True)
class Membership(LaneConfig):
    """The lane's settings with another kind of membership."""

    static_membership: bool = KIND == "static"


if __name__ == "__main__":
    governor.LaneConfig = Membership
    sys.argv = ["milepost", *COMMAND]
    main()
