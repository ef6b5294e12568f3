"""One partition decided anew: the ledger says which records, in which order, and when the clock
moved; what the outside world answered then (a schema that was unknown, a size that was too large)
is taken from the ledger's reasons.

Must never read a topic.
"""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from pipeline.contract import codec, names
from pipeline.contract.codec import Schema
from pipeline.governance import kernel, ledger
from pipeline.governance.clock import Clock
from pipeline.governance.policy import Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Disposition
from pipeline.streams.arriving import Refused, as_it_came
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Governed, Lacking, PolicyName, Surroundings, govern
from pipeline.testing.replaying.recorded import Block

Record = dict[str, Any]
FindPolicy = Callable[[PolicyName], Policy | None]
FindSchema = Callable[[int], Schema]
_UNLIMITED: Final = 1 << 62
_SCHEMA_BYTES: Final = 5
_OUTSIDE: Final = frozenset({Reason.UNKNOWN_SCHEMA, Reason.SCHEMA_NOT_ALLOWED, Reason.DECODER_DIED})
"""What a registry answered then, which may answer otherwise now, and what nobody is to read."""
_REST: Final = ""
"""Stands for every input that was read as far as the clock, and no further."""


class NotReplayableError(Exception):
    """Something is not there any more that the decision was made with."""


class Deciding:
    """Decides the blocks of one partition anew.

    Args:
        partition: its number.
        partitions: how many there are.
        find_policy: bundle by version and digest; None: it is not there.
        find_schema: schema by registry id; UndecodableError: there is none.

    """

    def __init__(
        self, partition: int, partitions: int, find_policy: FindPolicy, find_schema: FindSchema
    ) -> None:
        self.state = PartitionState(partition)
        self._partitions = partitions
        self._find_policy = find_policy
        self._find_schema = find_schema
        self._policies: dict[str, Policy] = {}

    def decide(self, group: Sequence[Block], approved_id: int) -> list[Governed]:
        """What becomes of the records of these blocks.

        Several only where they precede the first policy: they were decided together.

        Args:
            group: blocks.
            approved_id: registry id that their approved records were written with.

        Returns:
            What may have become of them, the likelier first; the state is that after the first.
            `choose` takes the second.

        Raises:
            NotReplayableError: a policy or a schema is gone.

        """
        body = group[-1].body
        goal = Clock(
            body["clock_after"], {item["topic"]: item["read_to"] for item in body["ahead"]}
        )
        moves = (goal.all, goal.ahead) != (self.state.time.all, self.state.time.ahead)
        if moves or not self.state.unfinished:
            return [self._govern(group, goal if moves else None, approved_id)]
        # Whether it went on then with what was left over, the ledger does not say
        self._other = copy.deepcopy(self.state)
        first = self._govern(group, None, approved_id)
        mine, self.state = self.state, self._other
        second = self._govern(group, goal, approved_id)
        self._other, self.state = self.state, mine
        return [first, second]

    def choose(self) -> None:
        """Take the second of two outcomes."""
        self.state = self._other

    def forgets(self) -> bool:
        """Whether more was to be forgotten than was; the state is of no use afterwards."""
        policy = self._policies[self.state.policy_version or ""]
        lasting = functools.partial(kernel.lasting, policy)
        return next(self.state.silent(lasting), None) is not None

    def follow(self, block: Block) -> None:
        """Go on from a block as it was written: another version may have written it otherwise."""
        value = block.stored.value or b""
        self.state.chain = hashlib.sha256(value[_SCHEMA_BYTES:]).hexdigest()
        self.state.approved_count = block.body["approved_count"]
        self.state.approved_digest = bytes.fromhex(block.body["approved_digest"])

    def _govern(self, group: Sequence[Block], goal: Clock | None, approved_id: int) -> Governed:
        records = [record for block in group for record in block.records]
        rows = [row for block in group for row in block.body["decisions"]]
        covered = [item for block in group for item in block.body["inputs"]]
        lost: dict[str, list[ledger.Gap]] = {}
        for item in covered:
            for gap in item["gaps"]:
                if gap["cause"] == "RETENTION":
                    found = ledger.Gap(gap["first"], gap["next"], retention=True)
                    lost.setdefault(item["topic"], []).append(found)
        read = {} if goal is None else {**goal.ahead, _REST: goal.all}
        limit = self._limit(records, rows)
        number = codec.schema_id(group[0].stored.value)
        ids = dict.fromkeys((names.LINKS, names.ALERTS, names.ENTITY_STATUS), 0)
        surroundings = Surroundings(
            partitions=self._partitions,
            group="",
            policies=self._policies,
            schemas=self._schemas(records, rows, limit),
            ids=ids | {names.DECISIONS: number, names.APPROVED: approved_id},
            inputs=frozenset(read),
            record_bytes_max=limit,
        )
        ends = {item["topic"]: item["next"] for item in covered}
        while True:
            result = govern(
                surroundings, self.state, records, ends=ends, read_through=read, lost=lost
            )
            if isinstance(result, Governed):
                return result
            self._look_up(result)

    def _look_up(self, lacking: Lacking) -> None:
        if not lacking.policies:
            raise NotReplayableError("no policy is in force where it was decided")
        for name in lacking.policies:
            policy = self._find_policy(name)
            if policy is None:
                raise NotReplayableError(f"policy bundle {name.version} is not published any more")
            self._policies[name.version] = policy

    def _limit(self, records: Sequence[Any], rows: Sequence[Record]) -> int:
        """Record size up to which records were read then."""
        refused = [
            record
            for record, row in zip(records, rows, strict=True)
            if row["reason"] == Reason.RECORD_TOO_LARGE
        ]
        sizes = []
        for record in refused:
            raw = as_it_came(0, self.state.partition, record).fault
            if raw is not None and raw.reason == Reason.RECORD_TOO_LARGE:
                sizes.append(int(raw.detail.split()[0]))
        return min(sizes, default=_UNLIMITED) - 1

    def _schemas(
        self, records: Sequence[Any], rows: Sequence[Record], limit: int
    ) -> dict[tuple[str, int], Schema | Refused]:
        """What was known of the records' schemas."""
        known: dict[tuple[str, int], Schema | Refused] = {}
        for record, row in zip(records, rows, strict=True):
            came = as_it_came(limit, self.state.partition, record)
            if came.fault is not None or came.schema in known:
                continue
            reason = row["reason"]
            if row["disposition"] == Disposition.DEAD_LETTERED and reason in _OUTSIDE:
                known[came.schema] = Refused(Reason(reason), "")
                continue
            try:
                known[came.schema] = self._find_schema(came.schema[1])
            except codec.UndecodableError as error:
                raise NotReplayableError(str(error)) from None
        return known
