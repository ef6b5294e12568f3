"""Whether Milepost's own outputs are exact: every record has its fate, every milestone its place.

Order between topics is free, so what is compared does not depend on it: what each approved record
says, gapless sequence numbers of each entity, one disposition for each offset, dead letters byte
for byte. `milepost verify` proves the rest.
"""

import os
import subprocess
import sys
import zlib
from collections import Counter, defaultdict

from benchmarks.peers.workload import MASK, TOPICS, sentence
from pipeline.contract import codec, names
from pipeline.governance.identity import entity_key
from pipeline.kafka.reading import read_to_end

FATES = {
    ("approved", "owner_spoke"): "approved",
    ("overruled", "not_owner"): "rejected",
    ("corroborated", "agrees_with_owner"): "rejected",  # the owner had spoken already
    ("duplicate", "repeated"): "duplicate",
    ("dead_lettered", "undecodable"): "undecodable",
    ("dead_lettered", "unknown_schema"): "undecodable",
}


def faults(cluster, truth):
    """What is wrong; nothing if all is exact."""
    found = [*_approved(cluster, truth), *_ledger(cluster, truth), *_letters(cluster, truth)]
    return "; ".join(found)


def audit(cluster):
    """What `milepost verify` finds; nothing if it is clean."""
    env = os.environ | {
        "MILEPOST_BOOTSTRAP_SERVERS": cluster.bootstrap,
        "MILEPOST_REGISTRY_URL": cluster.stack.registry_url,
        "MILEPOST_TOPICS_FILE": str(cluster.topics_file),
    }
    argv = [sys.executable, "-m", "pipeline.cli.main", "verify", "--quiet"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return f"milepost verify: {(done.stdout + done.stderr)[-1000:]}" if done.returncode else ""


def _read(cluster, topic):
    return read_to_end(cluster.settings, cluster.bootstrap, topic)


def _approved(cluster, truth):
    schema, total, count = codec.committed("approved-milestone"), 0, 0
    numbers = defaultdict(list)
    for stored in _read(cluster, names.APPROVED):
        record = codec.decode(stored.value, schema)
        key = entity_key(record["tenant"], record["entity_type"], record["entity_id"])
        told = {
            "event_id": record["source_event_id"],
            "milestone": record["event_type"],
            "occurred": record["occurred"],
            "platform": record["platform"],
        }
        count += 1
        total = (total + zlib.crc32(sentence(key, told))) & MASK
        numbers[key].append(record["entity_seq"])
        if (record["action"], record["revision"]) != ("ASSERT", 1):
            yield f"{record['event_id']} is a {record['action']}"
    if count != truth["counts"]["approved"]:
        yield f"{count} approved records instead of {truth['counts']['approved']}"
    elif total != truth["story"]:
        yield "approved records say something else"
    torn = [key for key, found in numbers.items() if found != list(range(1, len(found) + 1))]
    if torn:
        yield f"{len(torn)} entities have sequences with gaps, {torn[0]} first"


def _ledger(cluster, truth):
    schema = codec.committed("decision-block")
    told, reached = Counter(), defaultdict(int)
    for stored in _read(cluster, names.DECISIONS):
        block = codec.decode(stored.value, schema)
        topics = [item["topic"] for item in block["inputs"]]
        for item in block["inputs"]:
            place = item["topic"], stored.partition
            if item["first"] != reached[place]:
                yield f"{place} is not tiled at {reached[place]}"
            reached[place] = item["next"]
        for row in block["decisions"]:
            if topics[row["input"]] in TOPICS:
                told[FATES.get((row["disposition"], row["reason"]), row["reason"])] += 1
    if told != Counter(truth["counts"]):
        yield f"dispositions are {dict(told)} instead of {truth['counts']}"


def _letters(cluster, truth):
    total = 0
    for stored in _read(cluster, names.DEAD_LETTER):
        total = (total + zlib.crc32(stored.key + stored.value)) & MASK
    if total != truth["sums"]["undecodable"]:
        yield "dead letters are not the bytes that came"
