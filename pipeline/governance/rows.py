"""The ledger's rows of one settling: what becomes of earlier claims, and who carries a revision.

Each revision is carried by exactly one row: the verdict on the record that is taken, or a
transition of a claim that was decided before. Must never decide what is published.
"""

from __future__ import annotations

from typing import Final

from pipeline.governance.entity import Entity, Occurrence, Spoken
from pipeline.governance.outputs import Transition
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Action, Assurance, Change, Disposition

NOBODY: Final = -2
"""No claim's verdict is being made."""


class Step:
    """A revision to publish: what it does, who vouches, why, and the claim that it carries."""

    __slots__ = ("action", "assurance", "reason", "spoken")

    def __init__(
        self,
        action: Action,
        assurance: Assurance,
        reason: Reason,
        spoken: Spoken,
    ) -> None:
        self.action = action
        self.assurance = assurance
        self.reason = reason
        self.spoken = spoken


_CHANGES: Final = {
    Action.CONFIRM: Change.CONFIRMED,
    Action.CORRECT: Change.CORRECTED,
    Action.RETRACT: Change.RETRACTED,
}
"""What becomes of the claim that stood, by the action of the revision that follows it."""


class Stood:
    """The claim that stands, and as what."""

    __slots__ = ("claim_id", "platform", "seq", "word")

    def __init__(
        self,
        seq: int,
        platform: str,
        claim_id: str,
        word: str,
    ) -> None:
        self.seq = seq
        self.platform = platform
        self.claim_id = claim_id
        self.word = word


class Rows:
    """Writes the ledger's transitions of one settling: each revision is carried by one row."""

    def __init__(
        self,
        transitions: list[Transition],
        entity: Entity,
        occurrence: Occurrence,
        cause: int,
        own: int,
        left: Spoken | None,
    ) -> None:
        self.own = own
        self._transitions = transitions
        self._entity = entity
        self._occurrence = occurrence
        self._cause = cause
        self._left = () if left is None else (left,)
        self._due: dict[int, tuple[Step, int]] = {}

    def standing(self) -> Stood | None:
        """What stands before a step; None: nothing."""
        occurrence = self._occurrence
        if not occurrence.stands:
            return None
        provisional = occurrence.assurance == Assurance.PROVISIONAL
        word = Disposition.PROVISIONAL if provisional else Disposition.APPROVED
        return Stood(occurrence.claim_seq, occurrence.platform, occurrence.claim_id, word.value)

    def note(self, step: Step, stood: Stood | None, revision: int) -> None:
        """A revision was published: say what it means for the claim that stood."""
        carrier = step.spoken.claim.seq
        change = _CHANGES.get(step.action)
        if stood is None or change is None or (stood.seq == carrier == self.own):
            self._due[carrier] = (step, revision)
            return
        itself = stood.seq == carrier
        self._row(
            stood.seq,
            (stood.platform, stood.claim_id),
            (stood.word, change.value),
            step.reason,
            revision=revision if itself else 0,
        )
        if itself:
            voice_of(self._occurrence, step.spoken).fate = change.value
            return
        for spoken in (*self._occurrence.voices(), *self._left):
            if spoken.claim.seq == stood.seq:
                spoken.fate = change.value
        self._due[carrier] = (step, revision)

    def move(self, spoken: Spoken, after: str, reason: Reason, rule: str = "") -> None:
        """A claim moves on, and carries the revision that is due to it."""
        body = spoken.claim.body
        _, revision = self._due.pop(spoken.claim.seq, (None, 0))
        self._row(
            spoken.claim.seq,
            (body["platform"], body["event_id"]),
            (spoken.fate, after),
            reason,
            rule,
            revision,
        )

    def carries(self, spoken: Spoken) -> bool:
        """Whether a revision is due to a claim that was decided before."""
        return spoken.claim.seq in self._due and spoken.claim.seq != self.own

    def finish(self) -> int:
        """Write what is left.

        Returns:
            The revision of the claim whose verdict is being made; 0: none.

        """
        mine = self._due.pop(self.own, None)
        for step, _ in list(self._due.values()):
            self.move(step.spoken, Change.RETRACTED.value, step.reason)
        return 0 if mine is None else mine[1]

    def _row(
        self,
        seq: int,
        who: tuple[str, str],
        words: tuple[str, str],
        reason: Reason,
        rule: str = "",
        revision: int = 0,
    ) -> None:
        occurrence = self._occurrence
        self._transitions.append(
            Transition(
                seq,
                self._cause,
                words[0],
                words[1],
                reason.value,
                rule,
                self._entity.key,
                occurrence.event_type,
                occurrence.milestone_id,
                revision,
                who[0],
                who[1],
            )
        )


def voice_of(occurrence: Occurrence, spoken: Spoken) -> Spoken:
    """The statement itself, of one that was put together from several ways to say it."""
    voices = occurrence.spoken.get(spoken.claim.body["platform"], ())
    return next((item for item in voices if item.claim is spoken.claim), spoken)
