"""Writes X12 for tests: a 214 with what a test wants to vary, and an envelope that is right."""

from __future__ import annotations

from connectors.formats import x12
from connectors.formats.findings import FindingPolicy
from connectors.formats.reading import Context

HEADING = ("B10*PRO1*SHIP1*ABCD", "N1*DT*RNO")


def isa(control="000000001", sender="SENDER", element="*", component=":", terminator="~"):
    fields = ["00", " " * 10, "00", " " * 10, "02", f"{sender:15}", "ZZ", f"{'RECEIVER':15}"]
    fields += ["260301", "0800", "U", "00401", control, "0", "P", component]
    return element.join(["ISA", *fields]) + terminator


def status_set(*segments, control="0001"):
    inner = [f"ST*214*{control}", *HEADING, *segments]
    return [*inner, f"SE*{len(inner) + 1}*{control}"]


def interchange(*sets, control="000000001", sender="SENDER", group="QM"):
    lines = [f"GS*{group}*SENDER*RECEIVER*20260301*0800*7*X*004010"]
    lines += [segment for one in sets for segment in one]
    lines += [f"GE*{len(sets)}*7", f"IEA*1*{control}"]
    return isa(control, sender) + "".join(f"{line}~\n" for line in lines)


def context(**given):
    given.setdefault("platform", "carrier")
    given["policy"] = FindingPolicy(given.pop("actions", {}))
    return Context(**given)


def read(text, **given):
    """Reading of the first interchange of a text or of bytes."""
    data = text.encode() if isinstance(text, str) else text
    document = x12.parse(data)
    return x12.read(document.interchanges[0], context(**given))


def read_status(*segments, **given):
    """Reading of one 214 with these segments after its heading."""
    given.setdefault("time_zone", "America/New_York")
    return read(interchange(status_set(*segments)), **given)


def codes(findings):
    return [str(finding.code) for finding in findings]
