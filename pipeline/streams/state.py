"""The state of one partition: its entities, its deadlines, its place in every input and the ledger.

Entities are kept encoded and opened when touched. Must never know a network.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from pipeline.governance import entity_codec
from pipeline.governance.clock import Clock
from pipeline.governance.entity import Entity
from pipeline.governance.ledger import MODULUS, approved_digest, state_digest
from pipeline.governance.settlement import Work
from pipeline.governance.trust import Trust
from pipeline.native import PLAIN
from pipeline.streams import entity_bytes

PARTITION_KEY: Final = b"\0partition"
"""Changelog key of the partition's own record."""
OPEN_MAX: Final = 1_000
"""Entities that stay decoded between batches."""
_HEAD = struct.Struct(">qq")
"""Before an entity's state: its next deadline; when something last came in, of a stub below 0."""
_OLD_HEAD = struct.Struct(">q")
_DAY_MS = 86_400_000
_ASKED_MAX = 2_000
"""Silent entities that one batch looks at."""
_NONE = -1
DUE_MAX: int = 10_000
"""Deadlines that one batch lets act: about a second's work, so that other partitions go on."""
_MOVED_MAX = 1_000
"""Entries of deadlines that moved which are kept besides the others."""


class PartitionState:
    """State of one partition number; changed in place, dropped when anything fails."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.policy_version: str | None = None
        self.policy_digest = ""
        """Of the bundle that governs; empty: a version wrote the state that did not note it."""
        self.time = Clock(0)
        self.trust = Trust()
        self.seq = 0
        """ledger_seq of the next input record."""
        self.block = 0
        self.chain = ""
        self.digest = 0
        self.approved_count = 0
        """Approved records written so far; -1: this state began before they were counted."""
        self.approved_digest = b""
        self.positions: dict[str, int] = {}
        self.paused: frozenset[str] = frozenset()
        """Inputs that are not to be read: of platforms that are braked."""
        self.reopening: dict[str, int] = {}
        """Entities whose open claims are still to be judged again, in order, and by what cause."""
        self.read_ms = 0
        """Append time of the newest tick that was read."""
        self.stored_bytes = 0
        """Size of all entities, encoded."""
        self.plain: Any = None if PLAIN is None else PLAIN.Store(partition)
        """Where entities are kept that the plain path knows, too; None: there is no plain path."""
        self._stored: Any = {} if self.plain is None else self.plain
        """Encoded entities by key, as they were when the last block was written."""
        self._opened: dict[str, Entity] = {}
        self._deadlines: dict[str, int] = {}
        self._due: list[tuple[int, str]] = []
        """A heap of deadlines; entries that moved are dropped when they come up."""
        self._silent: dict[int, list[str]] = {}
        """By day: entities of which to ask then whether they have been silent for too long."""
        self._asked: set[str] = set()
        """All of these."""
        self._put_off: dict[str, None] = {}
        """Entities whose deadline has passed and whose owner's input has not been read so far."""
        self._put_off_at = 0
        """The clock when it was last found that all of these are to be asked again."""
        self._again = 0
        """How many of them that still holds for."""
        self._left: tuple[str, int] | None = None
        """Where judging again goes on after a restart: the first entity's key, and the cause."""
        self._behind = False
        """Whether the clock is on its way to the newest tick, as too much falls due at once."""

    @classmethod
    def restore(cls, partition: int, changelog: Mapping[bytes, bytes]) -> PartitionState:
        """Build the state from the newest value of each changelog key.

        Raises:
            ValueError: it was written by a newer Milepost.

        """
        state = cls(partition)
        for key, value in changelog.items():
            if key == PARTITION_KEY:
                state._restore_own(orjson.loads(value))
                continue
            name = key.decode()
            state._stored[name] = value
            state.stored_bytes += len(value)
            deadline, active, _ = _head(value)
            if deadline != _NONE:
                state._deadlines[name] = deadline
            state.ask(name, abs(active))
        state._heapify()
        if state._left is not None:
            first, cause = state._left
            state.reopening = {key: cause for key in state.waiting() if key >= first}
        return state

    def _restore_own(self, own: dict[str, Any]) -> None:
        self.policy_version = own["policy_version"]
        self.policy_digest = own.get("policy_digest", "")
        self.time = Clock(own["clock"], own.get("ahead", {}), own.get("complete", {}))
        self.trust = Trust.load(own.get("trust", {}))
        self.paused = frozenset(own.get("paused", ()))
        self.seq = own["seq"]
        self.block = own["block"]
        self.chain = own["chain"]
        self.digest = int(own["digest"], 16)
        self.approved_count = own.get("approved_count", -1)
        self.approved_digest = bytes.fromhex(own.get("approved_digest", ""))
        self.positions = dict(own["positions"])
        left = own.get("reopening")
        self._left = None if left is None else (left[0], left[1])

    def count_approved(self, values: list[bytes]) -> None:
        """Chain approved records to the digest of those before."""
        if self.approved_count < 0:
            return
        self.approved_count += len(values)
        if PLAIN is not None:
            self.approved_digest = PLAIN.approved_digest(self.approved_digest, values)
            return
        for value in values:
            self.approved_digest = approved_digest(self.approved_digest, value)

    def own_record(self) -> tuple[bytes, bytes]:
        """Changelog entry of the partition itself."""
        own = {
            "policy_version": self.policy_version,
            "policy_digest": self.policy_digest,
            "clock": self.time.all,
            "ahead": dict(self.time.ahead),
            "complete": dict(self.time.complete),
            "trust": self.trust.dump(),
            "paused": sorted(self.paused),
            "seq": self.seq,
            "block": self.block,
            "chain": self.chain,
            "digest": f"{self.digest:032x}",
            "approved_count": self.approved_count,
            "approved_digest": self.approved_digest.hex(),
            "positions": self.positions,
            "reopening": next(iter(self.reopening.items()), None),
        }
        return PARTITION_KEY, orjson.dumps(own)

    @property
    def clock(self) -> int:
        """Append time up to which every input has been read, ms UTC."""
        return self.time.all

    def __contains__(self, key: str) -> bool:
        return key in self._stored or key in self._opened

    def __len__(self) -> int:
        return len(self._stored)

    def open(self, key: str) -> Entity:
        """The entity with this key; made if there is none."""
        found = self._opened.get(key)
        plain = self.plain
        if plain is not None:
            plain.lend(key)
        if found is None:
            stored = self._stored.get(key) if plain is None else plain.current(key)
            found = Entity(key) if stored is None else _load(key, stored)
            self._opened[key] = found
        return found

    def save(self, entity: Entity) -> tuple[bytes, bytes | None]:
        """Encode an entity that was changed; one with nothing to remember is forgotten.

        Returns:
            Its changelog entry.

        """
        name, key = entity.key, entity.key.encode()
        value = self._encoded(entity)
        before = self._stored.get(name)
        self.digest = state_digest(self.digest, key, before, value)
        self.stored_bytes += len(value or b"") - len(before or b"")
        if value is None:
            if name in self._stored:
                del self._stored[name]
            self._opened.pop(name, None)
        else:
            self._stored[name] = value
            if before is None:
                self.ask(name, entity.active)
        return key, value

    def _encoded(self, entity: Entity) -> bytes | None:
        deadline = self.schedule(entity)
        if entity.is_blank():
            return None
        active = -entity.active if entity.forgotten else entity.active
        head = _HEAD.pack(_NONE if deadline is None else deadline, active)
        return head + entity_bytes.dump(entity)

    def give_back(self, tables: Any, key: str, work: Work) -> bool:
        """Let the plain path go on with an entity that was opened here, if it can read it.

        Args:
            tables: the bundle as the plain path reads it.
            key: the entity's.
            work: knows what was changed here.

        """
        entity, value = work.touched.get(key), None
        if entity is not None:
            value = self._encoded(entity)
            if value is None:
                return False
        if not self.plain.take_back(tables, key, value, key in work.told):
            return False
        self._opened.pop(key, None)
        if entity is not None:
            work.touched[key] = None
        return True

    def save_plainly(self, keys: list[str]) -> dict[str, tuple[bytes, bytes, int | None]]:
        """Encode entities that the plain path has changed.

        Returns:
            By key its changelog entry, and of one that is new when something last came in.

        """
        entries, change, size = self.plain.save(keys)
        self.digest = (self.digest + change) % MODULUS
        self.stored_bytes += size
        return dict(zip(keys, entries, strict=True))

    def took_plainly(self, touched: list[str], deadlines: list[tuple[str, int | None]]) -> None:
        """Note what the plain path has changed: entities, and deadlines of some of them."""
        for key in touched:
            self._opened.pop(key, None)
        for key, deadline in deadlines:
            if deadline is None:
                self._deadlines.pop(key, None)
                self._put_off.pop(key, None)
            elif key in self._put_off:
                self.schedule(self.open(key))
            else:
                self._await(key, deadline)

    def schedule(self, entity: Entity) -> int | None:
        """Note when the next deadline of an entity falls due, and return it."""
        deadline, name, newest = entity.next_deadline(), entity.key, self.time.newest
        if deadline is None:
            self._deadlines.pop(name, None)
            self._put_off.pop(name, None)
            return None
        at = deadline
        if name in self._put_off and at <= newest:
            at = min((later for later, _ in entity.deadlines() if later > newest), default=at)
        self._await(name, at)
        return deadline

    def _await(self, name: str, at: int) -> None:
        if self._deadlines.get(name) != at:
            self._deadlines[name] = at
            if at > self.time.newest or name not in self._put_off:
                heapq.heappush(self._due, (at, name))
            if len(self._due) > _MOVED_MAX + 2 * len(self._deadlines):
                self._heapify()

    def _heapify(self) -> None:
        newest = self.time.newest
        self._due = [
            (deadline, name)
            for name, deadline in self._deadlines.items()
            if deadline > newest or name not in self._put_off
        ]
        heapq.heapify(self._due)

    def trim(self) -> None:
        """Close entities that have been open longest, down to the limit; the block is written."""
        if self.plain is not None:
            self.plain.settle()
        while len(self._opened) > OPEN_MAX:
            del self._opened[next(iter(self._opened))]

    def due_ms(self) -> int | None:
        """When the clock is to move next: at the next deadline, or at once to go on with more."""
        return self.read_ms + 1 if self.unfinished else self._next_ms()

    @property
    def unfinished(self) -> bool:
        """Whether more fell due at once than one batch does: the next tick goes on with it."""
        return self._behind or self._again > 0 or bool(self.reopening)

    def _next_ms(self) -> int | None:
        """When the next deadline falls due; entries of deadlines that moved are dropped."""
        while self._due:
            deadline, key = self._due[0]
            if self._deadlines.get(key) == deadline:
                return deadline
            heapq.heappop(self._due)
        return None

    def waiting(self, text: str = "") -> list[str]:
        """Keys of entities with open claims, in order; of those whose stored state has a text."""
        part = text.encode()
        return sorted(key for key in self._deadlines if part in (self._stored.get(key) or b""))

    def read(self, time: Clock) -> Clock:
        """How far the clock moves now that inputs have been read to a time.

        No further than as many deadlines as one batch lets act; the rest acts at the next ticks.
        """
        newest = time.newest
        first: list[tuple[int, str]] = []
        self.read_ms = max(self.read_ms, newest)
        while len(first) <= DUE_MAX and (at := self._next_ms()) is not None and at <= newest:
            first.append(heapq.heappop(self._due))
        for entry in first:
            heapq.heappush(self._due, entry)
        self._behind = len(first) > DUE_MAX
        return self.time.towards(time, first[-2][0]) if self._behind else time

    def due(self) -> Iterator[Entity]:
        """Entities with a deadline up to the clock, in order of deadline and key.

        What still waits when the next is asked for, is asked again when the clock has moved.
        """
        newest = self.time.newest
        if self.clock > self._put_off_at:
            self._put_off_at, self._again = self.clock, len(self._put_off)
        # While an input stands still, a few are asked: another one may have been read again
        asked = list(islice(self._put_off, min(self._again, DUE_MAX) or _ASKED_MAX))
        self._again = max(0, self._again - len(asked))
        for key in asked:
            yield from self._act(key, newest)
        while (deadline := self._next_ms()) is not None and deadline <= newest:
            yield from self._act(heapq.heappop(self._due)[1], newest)

    def _act(self, key: str, newest: int) -> Iterator[Entity]:
        self._deadlines.pop(key, None)
        self._put_off.pop(key, None)
        entity = self.open(key)
        yield entity
        left = entity.next_deadline()
        if left is not None and left <= newest:
            self._put_off[key] = None
        self.schedule(entity)

    def ask(self, key: str, at: int) -> None:
        """Ask some time after this whether an entity has been silent for too long."""
        if key not in self._asked:
            self._asked.add(key)
            self._silent.setdefault(at // _DAY_MS + 1, []).append(key)

    def silent(self, lasting: Callable[[str, bool], int]) -> Iterator[Entity]:
        """Entities that may have been silent for too long; a few in each batch.

        Args:
            lasting: how long an entity is remembered, ms, by its key and whether it is a stub.

        """
        today, left = self.clock // _DAY_MS, _ASKED_MAX
        for day in sorted(self._silent):
            if day > today or not left:
                return
            keys = self._silent[day]
            while keys and left:
                left -= 1
                key = keys.pop()
                self._asked.discard(key)
                stored = self._stored.get(key)
                if stored is None:
                    continue
                _, active, _ = _head(stored)
                over = abs(active) + lasting(key, active < 0)
                if over > self.clock:
                    self.ask(key, over)
                else:
                    yield self.open(key)
                    self.ask(key, self.clock)
            if not keys:
                del self._silent[day]

    def entities(self) -> Iterator[Entity]:
        """Every entity, decoded anew; for readers that change nothing."""
        for key in list(self._stored.keys()):
            yield _load(key, self._stored.get(key))


def _head(stored: bytes) -> tuple[int, int, int]:
    """Deadline, last activity, and where the rest begins."""
    if stored[_OLD_HEAD.size : _OLD_HEAD.size + 1] == b"[":
        return *_OLD_HEAD.unpack_from(stored), 0, _OLD_HEAD.size
    return *_HEAD.unpack_from(stored), _HEAD.size


def _load(key: str, stored: bytes) -> Entity:
    _, active, size = _head(stored)
    if stored[size : size + 1] == b"[":
        entity = entity_codec.load(key, orjson.loads(memoryview(stored)[size:]))
    else:
        entity = entity_bytes.load(key, stored, size)
    entity.active = abs(active) or entity.received
    return entity
