"""What every peer is told: schemas, ids, and the tables of the minimal step, drawn from the policy.

Peers in other languages and other environments read it as JSON; none of them needs Milepost.
"""

import json
from pathlib import Path

from pipeline.contract import codec
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy

HERE = Path(__file__).parent
PLATFORMS = ("erp-global", "wms-3pl", "tms-na", "tms-eu")
"""Each writes to the raw topic of its own."""
APPROVED_ID = 77
"""Schema id of the minimal step's output, which no registry holds."""
WINDOW = 32
CODES = {
    "erp-global": ("REL", "CHG"),
    "wms-3pl": ("PICK", "PACK", "GI"),
    "tms-na": (
        "TENDERED", "ACCEPTED", "AT_PICKUP", "SHIPPED", "AT_HUB", "LEFT_HUB", "AT_CONSIGNEE",
        "DELIVERED", "POD",
    ),
    "tms-eu": (
        "TENDERED", "ACCEPTED", "AT_PICKUP", "PICKED_UP", "AT_HUB", "LEFT_HUB", "AT_CONSIGNEE",
        "DELIVERED", "POD",
    ),
}  # fmt: skip
"""Native codes that the workload uses; the dialects of the policy say what they mean."""


def policy():
    """The policy bundle that ships with Milepost, compiled."""
    return compile_policy(load_bundle())


def tables(bundle=None):
    """Meaning of native codes, region of places, owner of milestones: as the policy has them.

    A place that is not given has the region "".
    """
    bundle = bundle or load_bundle()
    dialects = {dialect.dialect: dialect for dialect in bundle.dialects}

    def meaning(name, code):
        dialect = dialects[name]
        found = dialect.codes.get(code)
        return found if isinstance(found, str) else meaning(dialect.extends, code)

    spoken = {platform.name: platform.dialect for platform in bundle.platforms}
    meanings = {
        platform: {code: meaning(spoken[platform], code) for code in codes}
        for platform, codes in CODES.items()
    }
    places = {
        code: region
        for site in bundle.sites
        for region, countries in bundle.heading.regions.items()
        if site.country in countries
        for code in site.codes.get("acme", ())
    }
    milestones = sorted({name for found in meanings.values() for name in found.values()})
    owners = {name: {} for name in milestones}
    for rule in bundle.rules:
        if "acme" not in rule.tenants:
            continue
        regions = ["", *bundle.heading.regions] if rule.regions == "any" else rule.regions
        for name in set(rule.event_types) & owners.keys():
            owners[name] |= dict.fromkeys(regions, rule.owner)
    return {
        "meanings": meanings,
        "places": places,
        "milestones": milestones,
        "owners": owners,
    }


def spec(raw_id):
    """Everything a peer needs besides its topics."""
    return tables() | {
        "platforms": list(PLATFORMS),
        "raw_id": raw_id,
        "approved_id": APPROVED_ID,
        "window": WINDOW,
        "raw_schema": codec.definition("raw-event"),
        "approved_schema": json.loads((HERE / "approved.avsc").read_text("utf-8")),
    }
