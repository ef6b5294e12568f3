"""The simulated broker's consumer group: members, generations, who owns which partition number.

Static membership and the eager protocol, as the lane uses them: a rebalance waits until every
member has given up what it had, or its session is over. Must never call a member.
"""

from __future__ import annotations

import itertools


class Member:
    """One session of a consumer in the group, as both sides know it."""

    __slots__ = ("fenced", "generation", "instance", "joined", "name", "owns", "told")

    def __init__(self, name: str, instance: str) -> None:
        self.name = name
        self.instance = instance
        self.owns: frozenset[int] = frozenset()
        self.generation = 0
        self.joined = False
        """Whether it has given up what it had, in the rebalance that is under way."""
        self.told = True
        """Whether it knows its newest assignment."""
        self.fenced = False
        """Whether another process has taken its place."""


class RejectedError(Exception):
    """The group does not take this from a member that isn't one any more."""


class Group:
    """Shares out partition numbers 0 to `partitions` - 1."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.generation = 0
        self.members: dict[str, Member] = {}
        self.preparing = False
        """Whether a rebalance is under way."""
        self._numbers = itertools.count(1)

    def join(self, instance: str) -> Member:
        """Join, or come back: a known instance gets its place again, unless a rebalance runs."""
        member = Member(f"{instance}/{next(self._numbers)}", instance)
        former = next((m for m in self.members.values() if m.instance == instance), None)
        if former is not None:
            former.fenced = True
            del self.members[former.name]
        self.members[member.name] = member
        if former is not None and not self.preparing:
            member.owns, member.generation, member.told = former.owns, self.generation, False
            return member
        self._prepare()
        self.rejoin(member)
        return member

    def rejoin(self, member: Member) -> None:
        """Note that a member has given up what it had; the last one completes the rebalance."""
        member.joined = True
        if all(each.joined for each in self.members.values()):
            self._complete()

    def remove(self, member: Member) -> None:
        """A member leaves, or its session is over."""
        if self.members.pop(member.name, None) is None:
            return
        self._prepare()
        if self.members and all(each.joined for each in self.members.values()):
            self._complete()

    def check(self, name: str, generation: int) -> None:
        """See that positions come from a member of this generation.

        Raises:
            RejectedError: they don't.

        """
        if name not in self.members or generation != self.generation:
            raise RejectedError(f"{name} of generation {generation}")

    def _prepare(self) -> None:
        if not self.preparing:
            self.preparing = True
            for member in self.members.values():
                member.joined = False

    def _complete(self) -> None:
        """Share out anew, by range over the members in order of their instances."""
        self.preparing = False
        self.generation += 1
        members = sorted(self.members.values(), key=lambda member: member.instance)
        each, more = divmod(self.partitions, len(members))
        first = 0
        for place, member in enumerate(members):
            count = each + (place < more)
            member.owns = frozenset(range(first, first + count))
            member.generation, member.joined, member.told = self.generation, False, False
            first += count
