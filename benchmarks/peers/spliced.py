"""The minimal step without decoding: what is published is spliced from slices of what came.

Whatever the generated scanner does not know goes to the reference step.
"""

from binascii import unhexlify

from benchmarks.peers import step
from benchmarks.peers.scanning import Scanner

MARKS = {
    "platform": ("platform", "account"),
    "entity_type": ("kind", "named"),
    "entity_id": (None, "reference"),
    "native_status": ("status", "status_end"),
    "classifier": ("rest", None),
    "occurred": ("occurred", None),
    "stop.location": ("place", "place_end"),
    "stop": (None, "behind"),
}
EVENT_ID = 6, 42
"""Where the 36 characters of the event's id are."""


def varint(number):
    """A number as Avro writes it."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(value):
    """A text as Avro writes it; None: as a union's null."""
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def optional(value):
    return b"\0" if value is None else b"\2" + text(value)


class Spliced:
    """The step over a batch of one partition.

    `judged` has, by platform, native status and place as they are on the wire: the place of the
    platform's byte in the state, and by the milestone before, what goes into the approved record
    (None: the platform is not the owner) and the milestone's code.
    """

    def __init__(self, spec):
        self.reference = step.Step(spec)
        self.scan = Scanner(spec["raw_schema"], MARKS).compiled()
        self.count = len(spec["platforms"])
        self.judged = dict(self._judged())

    def _judged(self):
        known = self.reference
        for (platform, status), milestone in known.meanings.items():
            for place, region in [(None, ""), (False, ""), *known.places.items()]:
                where = {None: b"", False: b"\0"}.get(place)
                key = text(platform) + text(status) + (optional(place) if where is None else where)
                code, middles = known.codes[milestone], None
                if known.owners.get((milestone, region)) == platform:
                    middles = [
                        text(milestone) + varint(code) + optional(before) + optional(region or None)
                        for before in known.milestones
                    ]
                yield key, (known.platforms[platform], code, middles)

    def decide(self, records, states):
        """Decide records in order; states change in place.

        Args:
            records: with key and value.
            states: of this partition's entities, by key.

        Returns:
            Keys and values of approved, rejected and undecodable records, and of new states.

        """
        approved, rejected, undecodable, changes = [], [], [], []
        scan, judged, get, count = self.scan, self.judged.get, states.get, self.count
        window = self.reference.window
        head, own = self.reference.raw_head + b"\x48", self.reference.approved_head
        fresh = bytes(count)
        for record in records:
            key, value = record.key, record.value
            found = None
            if value[:6] == head:
                found = scan(value)
            verdict = event_id = None
            if found is not None:
                (platform, account, kind, named, reference, status, status_end, rest, occurred,
                 place, place_end, behind) = found  # fmt: skip
                verdict = judged(
                    value[platform:account] + value[status:status_end] + value[place:place_end]
                )
                time = value[occurred]
                if named - kind < 3 or reference - named < 3 or time & 1 or not time:
                    verdict = None
                try:
                    event_id = unhexlify(value[6:42].replace(b"-", b""))
                except ValueError:
                    verdict = None
            if verdict is None or len(event_id) != step.ID_BYTES:
                self._decide_slowly(record, states, (approved, rejected, undecodable, changes))
                continue
            state = get(key)
            if state is None:
                state = fresh
            else:
                at = state.find(event_id, count)
                while at != -1 and (at - count) % 16:
                    at = state.find(event_id, at + 1)
                if at != -1:
                    continue
                if len(state) - count >= window:
                    state = state[:count] + state[count + 16 :]
            at, code, middles = verdict
            if middles is None:
                new = state + event_id
                rejected.append((key, value))
            else:
                new = b"%b%c%b%b" % (state[:at], code, state[at + 1 :], event_id)
                middle = middles[state[at]]
                approved.append(
                    (key, b"%b%b%b%b" % (own, value[5:reference], middle, value[rest:behind]))
                )
            states[key] = new
            changes.append((key, new))
        return approved, rejected, undecodable, changes

    def _decide_slowly(self, record, states, told):
        """The same for one record, by the reference."""
        approved, rejected, undecodable, changes = told
        key, value = record.key, record.value
        fate, new, out = self.reference.decide(value, states.get(key))
        if fate == step.UNDECODABLE:
            undecodable.append((key, value))
        elif fate != step.DUPLICATE:
            states[key] = new
            changes.append((key, new))
            if fate == step.APPROVED:
                approved.append((key, out))
            else:
                rejected.append((key, value))
