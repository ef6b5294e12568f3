"""Random worlds for property tests: what platforms say of one shipment and its order.

Each platform's statements are in the order in which it makes them; who is read first is drawn
apart.
"""

from __future__ import annotations

from hypothesis import strategies as st

from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import raw_event, same_time
from pipeline.governance.standing import judge
from pipeline.governance.vocabulary import Cardinality
from pipeline.testing.driver import TopologyDriver

POLICY = compile_policy(load_bundle())
START_MS = 1_767_600_000_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

_STOP = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
_TOWNS = {"DAL1": ("Dallas", "TX"), "DEN1": ("Denver", "CO"), "ATL1": ("Atlanta", "GA")}
_TOWNS["SEA1"] = ("Seattle", "WA")
_LISTS = {
    "one": [("DAL1", "ATL1"), ("DAL1", "SEA1")],
    "two": [("DAL1", "DEN1", "ATL1"), ("DAL1", "ATL1", "DEN1"), ("DAL1", "DEN1", "DEN1")],
    "abroad": [("DAL1", "ATL1"), ("RTM1", "MUC1")],
}


def stop(**given):
    return _STOP | given


class World:
    """Statements by platform, in order; each with its append time."""

    def __init__(self):
        self.said = {}

    @property
    def size(self):
        return sum(map(len, self.said.values()))

    def __repr__(self):
        lines = []
        for platform, statements in self.said.items():
            for at_ms, event in statements:
                shown = {
                    name: value
                    for name, value in event.items()
                    if value not in (None, [], {}, "UNRECOGNISED", platform)
                }
                lines.append(f"{platform} at {at_ms - START_MS}: {shown}")
        return "World(\n  " + "\n  ".join(lines) + "\n)"


def _write_stop(draw, lists, position):
    """The stop at a position of the lists, in one of the ways in which it can be written."""
    site = draw(st.sampled_from(sorted({item[position] for item in lists})))
    way = draw(st.sampled_from(["code", "number", "both", "town"]))
    role = "PICKUP" if position == 0 else "DELIVERY"
    if way == "number":
        return stop(number=position + 1)
    if way == "both":
        return stop(number=position + 1, location=site, role=role)
    if way == "town" and site in _TOWNS:
        city, state = _TOWNS[site]
        return stop(city=city, subdivision=state, country="US", role=role)
    return stop(location=site)


def _stops(sites):
    return [
        stop(number=number, role="PICKUP" if number == 1 else "DELIVERY", location=site)
        for number, site in enumerate(sites, 1)
    ]


_SPEAKERS = {
    "tms-na": {"departed": "SHIPPED", "delivered": "DELIVERED", "at": "AT_PICKUP", "pod": "POD"},
    "tms-eu": {"departed": "PICKED_UP", "delivered": "DELIVERED", "issued": "SHIPPED"},
    "carrier-redline": {"departed": "AF", "delivered": "D1", "at": "X3", "refused": "A7"},
    "carrier-alpen": {"departed": "13", "delivered": "21"},
    "ops-desk": {"departed": "departed", "delivered": "delivered", "issued": "goods.issued"},
    "portal": {"departed": "departed", "delivered": "delivered"},
    "wms-3pl": {"issued": "GI"},
    "erp-global": {"charge": "FRT", "invoice": "INV"},
}
_PICKUP = {"departed", "at", "issued"}


@st.composite
def worlds(draw, *, retractions=True):
    """A world of one shipment: tenders, claims of several platforms, corrections, retractions."""
    family = draw(st.sampled_from(sorted(_LISTS)))
    lists = _LISTS[family]
    names = draw(st.lists(st.sampled_from(sorted(_SPEAKERS)), min_size=3, max_size=6, unique=True))
    world = World()
    planners = ["tms-na"] if family != "abroad" else ["tms-na", "tms-eu"]
    for name in dict.fromkeys([*planners, *names]):
        statements = world.said.setdefault(name, [])
        least = 1 if family == "one" else 0
        tenders = draw(st.integers(least, 3)) if name in planners else 0
        spoken = draw(st.integers(0, 4))
        kinds = draw(st.permutations(["tender"] * tenders + ["say"] * spoken))
        at_ms = START_MS
        for number, kind in enumerate(kinds):
            at_ms += draw(st.integers(0, 40)) * MINUTE_MS
            event_id = f"{name}-{number}"
            body = {"event_id": event_id, "platform": name, "entity_type": "shipment"}
            body |= {"entity_id": "S1", "classifier": "ACTUAL", "occurred_precision": "SECOND"}
            if name == "wms-3pl":
                body["account"] = "ACME-3PL"
            if name == "ops-desk":
                body |= {"stated_by": "Kim", "remark": "the driver phoned"}
            body["occurred"] = at_ms - draw(st.integers(0, 6)) * 20 * MINUTE_MS
            body["recorded"] = draw(st.sampled_from([None, at_ms, at_ms - 30 * MINUTE_MS]))
            earlier = [event for _, event in statements if event["retracts"] is None]
            if kind == "tender":
                body |= _tender(draw, statements, lists)
            elif retractions and earlier and draw(st.integers(0, 5)) == 0:
                target = draw(st.sampled_from(earlier))["event_id"]
                if number + 1 < len(kinds) and draw(st.integers(0, 3)) == 0:
                    target = f"{name}-{number + 1}"
                body |= {"native_status": "-", "retracts": target}
            elif name == "erp-global":
                if family == "abroad":  # see docs/reference/semantics.md: exempt
                    continue
                body |= _finance(draw)
            else:
                body |= _milestone(draw, name, family, lists)
            statements.append((at_ms, raw_event(**body)))
    return world


def _tender(draw, statements, lists):
    first = not any(event["stops"] for _, event in statements)
    silent = draw(st.integers(0, 9)) == 0
    sites = draw(st.sampled_from(lists))
    body = {
        "native_status": "TENDERED" if first else "RETENDERED",
        "stops": [] if silent else _stops(sites),
        "orders": draw(st.sampled_from([[], ["80001"], ["80001", "80002"]])),
    }
    return body if first else body | {"document": f"V{len(statements)}"}


def _finance(draw):
    kind = draw(st.sampled_from(["charge", "invoice"]))
    amount = draw(st.sampled_from([1_000_000, 1_250_000]))
    document = draw(st.sampled_from(["D1", "D2"]))
    code = _SPEAKERS["erp-global"][kind]
    return {"native_status": code, "document": document, "amount": amount, "currency": "USD"}


def _milestone(draw, name, family, lists):
    kind = draw(st.sampled_from(sorted(_SPEAKERS[name])))
    body = {"native_status": _SPEAKERS[name][kind]}
    if draw(st.integers(0, 3)) == 0:
        body["occurred_precision"] = "MINUTE"
    positions = [0] if kind in _PICKUP else range(1, min(map(len, lists)))
    position = draw(st.sampled_from(list(positions)))
    silent = family == "one" or (kind in _PICKUP and family == "two")
    silent = silent and name != "carrier-redline"
    if not silent or draw(st.booleans()):
        body["stop"] = _write_stop(draw, lists, position)
    denies = name == "tms-na" and kind == "delivered" and family == "abroad"
    if denies and draw(st.integers(0, 3)) == 0:
        body["native_status"] = "NOT_DELIVERED"
    elif kind == "delivered" and draw(st.integers(0, 4)) == 0:
        body["quantity"] = {
            "value": draw(st.sampled_from([1, 2])) * 1_000_000,
            "unit": "C62",
            "basis": "DELTA",
            "completeness": "UNRECOGNISED",
        }
    return body


def readings(world):
    """An order of reading: whose turn it is, again and again."""
    return st.lists(st.integers(0, 30), min_size=world.size, max_size=world.size)


def in_order(world, turns):
    """The world's statements in one order of reading that keeps each platform's own order."""
    queues = {name: list(statements) for name, statements in world.said.items() if statements}
    for turn in turns:
        name = sorted(queues)[turn % len(queues)]
        at_ms, event = queues[name].pop(0)
        if not queues[name]:
            del queues[name]
        yield at_ms, event


def topic_of(event):
    platform = POLICY.platforms.get(event["platform"])
    return min(platform.topics) if platform else "logistics.raw.tms-na.v1"


def run(world, turns, *, mode="each", partitions=2):
    """Read a world in one order, then let every silence end, but no wait.

    Modes: `each` record is a batch of its own; `all` are one batch; `clock` moves as far as it may
    after each record; `restart` has a fresh worker after each record.
    """
    driver = TopologyDriver([POLICY], partitions=partitions, start_ms=START_MS - HOUR_MS)
    sequence = list(in_order(world, turns))
    if mode == "all":
        driver.stop()
    for number, (at_ms, event) in enumerate(sequence):
        driver.pipe(topic_of(event), event, at_ms=at_ms)
        if mode == "restart":
            driver.restart()
        unread = [later for later, _ in sequence[number + 1 :]]
        if mode == "clock" and unread:
            driver.reach(max(min(unread) - 1, START_MS))
    if mode == "all":
        driver.start()
    driver.reach(START_MS + 20 * HOUR_MS)
    return driver


def final(driver):
    """The final state of every occurrence, by entity."""
    found = {}
    for state in driver.states:
        for entity in state.entities():
            if entity.name.type == "ref":
                continue
            story = {}
            for occurrence in entity.occurrences.values():
                kind = POLICY.catalogue[occurrence.event_type]
                if kind.cardinality is Cardinality.STREAM:
                    continue
                judged = judge(POLICY, entity, occurrence, kind, state.time)
                winner = judged.winner
                stands = winner is not None and not judged.retracted
                assert occurrence.stands == stands, occurrence.name
                if not stands:
                    continue
                assert occurrence.assurance == judged.assurance
                assert occurrence.platform == winner.claim.body["platform"]
                assert same_time(
                    occurrence.occurred, occurrence.precision, winner.occurred, winner.precision
                )
                story[occurrence.name] = (
                    occurrence.assurance,
                    winner.claim.body["platform"],
                    winner.occurred,
                    winner.precision,
                )
            found[entity.key] = {
                "status": entity.status,
                "region": entity.region,
                "stops": [item.place for item in entity.stops],
                "orders": entity.orders,
                "story": story,
                "held": sorted((held.claim.body["event_id"], held.reason) for held in entity.held),
                "linked": {
                    key: item.status for key, item in entity.linked.items() if not item.ended
                },
            }
    return {key: told for key, told in found.items() if any(told.values())}
