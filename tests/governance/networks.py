"""Random networks: orders, shipments that are split, references, cancellations, hand-overs.

Made from a `random.Random`, which hypothesis can draw or a seed can give. A network is read phase
by phase: within one, platforms interleave freely; between two, control records are written.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from worlds import HOUR_MS, MINUTE_MS, START_MS, stop

from pipeline.contract import codec
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import WIDTH, raw_event
from pipeline.governance.facts import carried
from pipeline.governance.identity import partition_of
from pipeline.governance.vocabulary import Cardinality, ControlKind
from pipeline.testing.driver import TopologyDriver

PHASE_MS = 6 * HOUR_MS
END_MS = START_MS + 20 * HOUR_MS
"""Every silence is over then, and no wait."""
BUNDLE = load_bundle()
FAMILIES = ("plain", "by id", "by occurrence", "by start", "abroad")
HABITS = ("never twice", "never back", "never astray")
"""What platforms don't do in a network. All at once is exempt from the ordering law: a platform
whose order was broken on the way, that says one thing twice and takes it back.
"""


@cache
def policy(family, version="1"):
    """The shipped bundle, its transport in North America handed over to the carrier at +2 h.

    Version 2 gives goods issues to the TMS, and everybody half the time.
    """
    rules = []
    for rule in BUNDLE.rules:
        handed = family.startswith("by ") and family != "by id" and rule.rule == "transport-na"
        given = [rule]
        if handed:
            at = datetime.fromtimestamp((START_MS + 2 * HOUR_MS) / 1000, UTC)
            after = {
                "rule": "transport-na-later",
                "owner": "carrier-redline",
                "from_": at,
                "handover": family.replace("by start", "by shipment start").replace(" ", "_"),
                "grace": timedelta(hours=1),
            }
            given = [rule.model_copy(update={"until": at}), rule.model_copy(update=after)]
        if version == "2" and rule.rule == "goods-issue-na":
            given = [rule.model_copy(update={"owner": "tms-na", "deputies": rule.deputies[1:]})]
        if version == "2":
            given = [row.model_copy(update={"tolerance": row.tolerance / 2}) for row in given]
        rules += given
    platforms = [
        row.model_copy(update={"retracts_by_id": True})
        if family == "by id" and row.name in {"carrier-redline", "ops-desk"}
        else row
        for row in BUNDLE.platforms
    ]
    heading = BUNDLE.heading.model_copy(update={"version": f"{family} {version}"})
    return compile_policy(
        BUNDLE.model_copy(update={"heading": heading, "rules": rules, "platforms": platforms})
    )


class Said(NamedTuple):
    """A statement, when it was appended, and whether on a wrong partition."""

    at_ms: int
    event: dict
    astray: bool


class Phase(NamedTuple):
    said: dict
    """By platform, in its order."""
    controls: list
    """Written when all of it has been read."""


class Network(NamedTuple):
    family: str
    phases: list

    @property
    def size(self):
        return sum(len(item) for phase in self.phases for item in phase.said.values())

    def __repr__(self):
        lines = [f"Network({self.family}"]
        for phase in self.phases:
            for platform, statements in phase.said.items():
                for at_ms, event, astray in statements:
                    where = "astray " if astray else ""
                    lines.append(f"{platform} {_minute(at_ms)} {where}{_short(event)}")
            lines.append(f"then {phase.controls}")
        return "\n  ".join(lines) + ")"


def _minute(at_ms):
    return f"+{(at_ms - START_MS) / MINUTE_MS:g}m"


def _short(event):
    """What an event says, times in minutes since the start."""
    silent = raw_event() | {"classifier": "ACTUAL"}
    hidden = {"platform", "entity_type", "account", "stated_by", "remark"}
    told = {}
    for name, value in event.items():
        if value == silent[name] or name in hidden:
            continue
        if name in {"occurred", "recorded"}:
            told[name] = _minute(value)
        elif name == "stops":
            told[name] = [item["location"] for item in value]
        elif name == "stop":
            told[name] = {key: part for key, part in value.items() if part}
        else:
            told[name] = value
    return told


_SITES = ("ATL1", "DEN1", "SEA1")


class Author:
    """Makes up what platforms say of a few orders and shipments."""

    def __init__(self, rnd, family, shipments=3, *, finance=True, lawful=False):
        self.rnd = rnd
        self.family = family
        self.lawful = lawful
        """Whether what the ordering law exempts is left out."""
        self.strays = set()
        """Platform and entity of what was written to a wrong partition, or knew a reference."""
        self.twice = set()
        """Platform and entity of what was said more than once."""
        self.habit = rnd.choice(HABITS)
        self.finance = finance and family not in {"by start", "abroad"}
        """Not where what a charge waits for may stand for a while only: exempt as well."""
        self.plans = True
        self.minutes = {name: set() for name in _PLATFORMS}
        """In which each says that something happened."""
        self.platforms = sorted(_PLATFORMS)
        if family != "abroad":
            self.platforms.remove("tms-eu")
        self.shipments = [f"S{number}" for number in range(1, shipments + 1)]
        self.said = {}
        """Every statement so far, by platform."""

    def may(self, what):
        return self.habit != f"never {what}"

    def chance(self, one_in):
        return self.rnd.randrange(one_in) == 0

    def phase(self, number, statements, controls=()):
        """So many statements, spread over the platforms."""
        start = START_MS + number * PHASE_MS
        at_ms = dict.fromkeys(self.platforms, start)
        said = {}
        for _ in range(statements):
            name = self.rnd.choice(self.platforms)
            spread = 40 if statements < 100 else 2
            at_ms[name] = min(
                at_ms[name] + self.rnd.randrange(spread) * MINUTE_MS, start + PHASE_MS - 1
            )
            event = self.statement(name, at_ms[name])
            astray = self.may("astray") and self.chance(12)
            about = name, event["entity_id"]
            astray = astray and not (self.lawful and about in self.twice)
            if astray or event["reference"]:
                self.strays.add(about)
            said.setdefault(name, []).append(Said(at_ms[name], event, astray))
            self.said.setdefault(name, []).append(event)
        return Phase(said, list(controls))

    def statement(self, name, at_ms):
        """One statement of a platform: something new, or a retraction."""
        rnd = self.rnd
        earlier = [event for event in self.said.get(name, ()) if event["retracts"] is None]
        body = {
            "event_id": f"{name}-{len(self.said.get(name, ()))}",
            "platform": name,
            "classifier": "ACTUAL",
            "occurred": self.moment(name, at_ms),
            "occurred_precision": "MINUTE" if self.chance(4) else "SECOND",
            "recorded": rnd.choice([None, at_ms, at_ms - 30 * MINUTE_MS]),
        }
        if name == "wms-3pl":
            body["account"] = "ACME-3PL"
        if earlier and self.may("twice") and self.chance(9):
            again = rnd.choice(earlier[-20:])
            about = name, again["entity_id"]
            if not self.lawful or (about not in self.strays and about[1]):
                self.twice.add(about)
                return again if self.chance(3) else again | {"event_id": body["event_id"]}
        if earlier and self.may("back") and self.chance(7):
            target = rnd.choice(earlier[-30:])
            if target["native_status"] == "FRT" or (self.family == "abroad" and target["stops"]):
                return target  # exempt: an invoice waits for it; two planners
            about = name, target["entity_id"]
            if self.lawful and (target["shipments"] or about in self.twice):
                return target
            self.strays.add(about)  # it may be taken back by its id alone, which waits
            body |= self.taken_back(target)
        else:
            body |= _PLATFORMS[name](self)
        if name == "ops-desk":
            body |= {"stated_by": "Kim", "remark": "the driver phoned"}
        return raw_event(**body)

    def moment(self, name, at_ms):
        """When it happened: often about when others say so too."""
        if self.chance(2):
            moment = at_ms - self.rnd.randrange(6) * 20 * MINUTE_MS
        else:
            hour = (at_ms // HOUR_MS - self.rnd.randrange(2)) * HOUR_MS
            moment = min(at_ms, hour + self.rnd.choice((0, 0, 32_000, 20 * MINUTE_MS)))
        apart = self.lawful or not self.may("twice")
        while apart and moment // MINUTE_MS in self.minutes[name]:
            moment -= MINUTE_MS
        self.minutes[name].add(moment // MINUTE_MS)
        return moment

    def taken_back(self, target):
        names = ("entity_type", "entity_id", "reference")
        where = {name: target[name] for name in names}
        if self.family == "by id" and target["platform"] in {"carrier-redline", "ops-desk"}:
            event = {"kind": "EVENT", "scope": target["platform"], "value": target["event_id"]}
            where = {"entity_type": None, "entity_id": None, "reference": event}
        return where | {"native_status": "-", "retracts": target["event_id"]}

    def shipment(self):
        return {"entity_type": "shipment", "entity_id": self.rnd.choice(self.shipments)}

    def order(self):
        number = self.rnd.randrange((len(self.shipments) + 1) // 2)
        return {"entity_type": "order", "entity_id": f"{80_001 + number}"}

    def by_number(self, kind, one_in=2):
        """The shipment by its own id, or by a number that its tender binds."""
        shipment = self.shipment()
        if self.may("astray") and self.chance(one_in):
            return {"reference": number_of(kind, shipment["entity_id"])}
        return shipment

    def place(self, position, *, europe=False):
        if position == 0:
            return {"stop": stop(location="RTM1" if europe else "DAL1", role="PICKUP")}
        site = self.rnd.choice(("MUC1", "LYS1") if europe else _SITES)
        way = self.rnd.randrange(4)
        if way == 0:
            return {"stop": stop(number=2)}
        if way == 1:
            return {"stop": stop(location=site, role="DELIVERY", number=2)}
        return {"stop": stop(location=site)}

    def tms(self, *, europe=False):
        kind = self.rnd.choice(
            ("tender", "tender", "split", "SHIPPED", "DELIVERED", "CANCELLED", "ACCEPTED", "other")
        )
        if kind in {"tender", "split"} and not self.plans:
            kind = "SHIPPED"
        if kind in {"tender", "split"}:
            return self.tender(kind == "split", europe)
        if kind == "other":
            kind = self.rnd.choice(("POD", "REFUSED", "NOT_DELIVERED", "AT_PICKUP"))
        where = self.where(kind, europe=europe)
        return self.shipment() | {"native_status": kind} | where | self.amount_of(kind)

    def tms_of_europe(self):
        return self.tms(europe=True)

    def where(self, kind, *, europe=False):
        if kind in {"CANCELLED", "ACCEPTED"}:
            return {}
        return self.place(0 if kind in {"SHIPPED", "AT_PICKUP", "AF", "X3"} else 1, europe=europe)

    def tender(self, split, europe):
        about = self.shipment()
        name = "tms-eu" if europe else "tms-na"
        mine = [
            event for event in self.said.get(name, ()) if event["entity_id"] == about["entity_id"]
        ]
        first = not any(event["native_status"] == "TENDERED" for event in mine)
        index = self.shipments.index(about["entity_id"])
        body = about | {
            "native_status": "TENDERED" if first else "RETENDERED",
            "document": None if first else f"V{len(mine)}",
            "orders": self.rnd.choice(([], [f"{80_001 + index // 2}"], ["80001"])),
        }
        if split or not self.chance(6):  # or the region of orders that have left it is exempt
            sites = ("MUC1", "LYS1") if europe else _SITES
            sites = self.rnd.sample(sites, self.rnd.choice((1, 2)))
            body["stops"] = [
                stop(number=1, role="PICKUP", location="RTM1" if europe else "DAL1"),
                *(stop(number=n, role="DELIVERY", location=at) for n, at in enumerate(sites, 2)),
            ]
        if not self.chance(4):
            kinds = self.rnd.choice((["PRO"], ["BOL"], ["PRO", "BOL"]))
            body["references"] = [number_of(kind, about["entity_id"]) for kind in kinds]
        if split and self.family != "abroad":  # a child keeps the region of a split that has ended
            body["shipments"] = self.shipments[index + 1 :][: self.rnd.choice((1, 2))]
        if self.lawful and any(event["shipments"] for event in mine):
            body["shipments"] = next(event["shipments"] for event in mine if event["shipments"])
        return body

    def amount_of(self, kind):
        if kind not in {"DELIVERED", "D1", "delivered", "PICK"} or not self.chance(3):
            return {}
        completeness = self.rnd.choice(("UNRECOGNISED", "PARTIAL", "COMPLETE"))
        quantity = {"value": self.rnd.choice((1, 2)) * 1_000_000, "unit": "C62", "basis": "DELTA"}
        return {"quantity": quantity | {"completeness": completeness}}

    def carrier(self):
        kind = self.rnd.choice(("AF", "D1", "D1", "X3", "A7"))
        body = self.by_number("PRO") | {"native_status": kind} | self.where(kind)
        if kind == "A7":
            body["attempt"] = self.rnd.choice(("1", "2"))
        if "entity_id" in body and self.chance(3):
            body["references"] = [number_of("PRO", body["entity_id"])]
        return body | self.amount_of(kind)

    def warehouse(self):
        kind = self.rnd.choice(("PICK", "PACK", "GI", "GI"))
        if kind == "GI":
            return self.by_number("BOL", 3) | {"native_status": kind} | self.place(0)
        document = f"T{self.rnd.randrange(3)}"
        return self.order() | {"native_status": kind, "document": document} | self.amount_of("PICK")

    def erp(self):
        kind = self.rnd.choice(("REL", "CAN", "FRT", "INV"))
        if kind in {"FRT", "INV"} and not self.finance:
            kind = "REL"
        if kind == "REL" and not self.plans:
            kind = "CAN"
        if kind in {"FRT", "INV"}:
            money = {"amount": self.rnd.choice((1_000_000, 1_250_000)), "currency": "USD"}
            document = {"document": f"D{self.rnd.randrange(2)}"}
            return self.shipment() | {"native_status": kind} | money | document
        where = self.place(0) if kind == "REL" and self.chance(2) else {}
        return self.order() | {"native_status": kind} | where

    def desk(self):
        kind = self.rnd.choice(("departed", "delivered", "goods.issued"))
        return self.shipment() | {"native_status": kind} | self.place(kind == "delivered")


def number_of(kind, shipment):
    """The number that a shipment has: each has its own of each kind."""
    return {"kind": kind, "scope": "RDLN" if kind == "PRO" else "", "value": f"4-{shipment}"}


_PLATFORMS = {
    "tms-na": Author.tms,
    "tms-eu": Author.tms_of_europe,
    "carrier-redline": Author.carrier,
    "wms-3pl": Author.warehouse,
    "erp-global": Author.erp,
    "ops-desk": Author.desk,
}
_CONTROLS = ("suspend", "redecide", "activate", "watermark")


def network(rnd, *, statements=30, shipments=3, family=None, phases=2, lawful=False):
    """A network of one or two phases; a lawful one has nothing that the ordering law exempts."""
    family = family or rnd.choice(FAMILIES)
    if phases == 1 or rnd.randrange(2):
        author = Author(rnd, family, shipments, lawful=lawful)
        return Network(family, [author.phase(0, statements)])
    author = Author(rnd, family, shipments, finance=False, lawful=lawful)
    kind = rnd.choice(_CONTROLS)
    half = statements // 2
    if kind == "suspend":
        name = rnd.choice(sorted(_PLATFORMS))
        first = [(ControlKind.SUSPEND, {"platform": name})]
        then = [(ControlKind.RELEASE, {"platform": name})]
    elif kind == "activate":
        first, then = [("activate", "2")], []
    elif kind == "watermark":
        first = [(ControlKind.WATERMARK, {"platform": "tms-na", "complete_to": END_MS})]
        then = []
    else:
        keys = [f"acme/shipment/{name}" for name in author.shipments]
        first = then = [(ControlKind.REDECIDE, {"entities": keys})]
    before = author.phase(0, half, first)
    author.plans = kind != "activate"  # a new plan would judge the past by the new policy
    return Network(family, [before, author.phase(1, half, then)])


def in_turn(rnd, phase):
    """A phase's statements in one order of reading that keeps each platform's own order."""
    queues = {name: list(reversed(said)) for name, said in phase.said.items() if said}
    names = [name for name, said in queues.items() for _ in said]
    rnd.shuffle(names)
    return [queues[name].pop() for name in names]


def _nothing(driver):
    pass


def read(network, rnd, *, mode="each", partitions=2, batch=1, after=_nothing):
    """Read a network in one order, then let every silence end, but no wait.

    Modes: `each` record is a batch of its own; `all` of a phase are one batch, or `batch` records;
    `clock` moves as far as it may after each record; `restart` has a fresh worker after each.
    `after` each record somebody may look.
    """
    policies = [policy(network.family), policy(network.family, "2")]
    driver = TopologyDriver(policies, partitions=partitions, start_ms=START_MS - HOUR_MS)
    for number, phase in enumerate(network.phases):
        sequence = in_turn(rnd, phase)
        for place, said in enumerate(sequence):
            if mode == "all" and (place == 0 or (batch > 1 and place % batch == 0)):
                driver.start()
                driver.stop()
            append(driver, said, said.at_ms)
            unread = [later.at_ms for later in sequence[place + 1 :]] if mode == "clock" else []
            if mode == "restart":
                driver.restart()
            elif unread:
                driver.reach(max(min(unread) - 1, START_MS))
            after(driver)
        if mode == "all":
            driver.start()
        driver.reach(START_MS + (number + 1) * PHASE_MS)
        for kind, told in phase.controls:
            if kind == "activate":
                driver.activate(policies[int(told) - 1].version)
            else:
                driver.control(kind, **told)
    driver.reach(END_MS)
    after(driver)
    return driver


def append(driver, said, at_ms=None):
    """One statement on the partition of its key, or on the next one; now, unless it says when."""
    body = dict(said.event)
    key = driver.key_of(body).encode()
    value = codec.encode(body, codec.committed("raw-event"), driver.raw_schema_id)
    number = (partition_of(key, driver.partitions) + said.astray) % driver.partitions
    topic = min(next(iter(driver.policies.values())).platforms[body["platform"]].topics)
    driver.pipe_bytes(topic, key, value, partition=number, at_ms=at_ms)


def final(driver):
    """The final state of every occurrence, and what each entity knows, by entity."""
    catalogue = next(iter(driver.policies.values())).catalogue
    found = {}
    for state in driver.states:
        for entity in state.entities():
            story = {
                name: (
                    item.assurance,
                    item.platform,
                    item.precision,
                    item.occurred // WIDTH[item.precision],
                )
                for name, item in entity.occurrences.items()
                if item.stands and catalogue[item.event_type].cardinality is not Cardinality.STREAM
            }
            found[entity.key] = {
                "story": story,
                "status": entity.status,
                "region": None if _unplanned(entity) else entity.region,
                "start": entity.start,
                "stops": [item.place for item in entity.stops],
                "orders": entity.orders,
                "split": entity.split,
                "inherited": entity.inherited,
                "cancels": {
                    order: at for order, at in entity.cancels.items() if order in carried(entity)
                },
                "binds": entity.binds,
                "held": sorted((held.claim.body["event_id"], held.reason) for held in entity.held),
                "linked": {
                    key: item.status
                    for key, item in entity.linked.items()
                    if item.status and not item.ended
                },
                "bindings": {
                    key: (item.since, item.until) for key, item in entity.bindings.items()
                },
            }
    return {key: told for key, told in found.items() if any(told.values())}


def _unplanned(entity):
    """Whether no plan of a shipment stands: exempt, one that nobody may make may have asked."""
    return entity.name.type == "shipment" and not (entity.orders or entity.stops or entity.split)


def fewest(network, differs):
    """The network with as few statements as still differ, to read what went wrong."""
    flat = [
        (number, name, place)
        for number, phase in enumerate(network.phases)
        for name, said in phase.said.items()
        for place in range(len(said))
    ]

    def only(kept):
        phases = [
            Phase(
                {
                    name: [item for at, item in enumerate(said) if (number, name, at) in kept]
                    for name, said in phase.said.items()
                },
                phase.controls,
            )
            for number, phase in enumerate(network.phases)
        ]
        return network._replace(phases=phases)

    step = len(flat) // 2
    while step:
        for first in reversed(range(0, len(flat), step)):
            fewer = flat[:first] + flat[first + step :]
            if differs(only(set(fewer))):
                flat = fewer
        step //= 2
    return only(set(flat))


def differences(one, other):
    """Lines that show where two final states differ."""
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key, {}), other.get(key, {})
        for name in sorted(mine.keys() | theirs.keys()):
            if mine.get(name) != theirs.get(name):
                yield f"{key} {name}: {mine.get(name)} / {theirs.get(name)}"
