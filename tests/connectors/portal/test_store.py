"""What the store holds after records were applied, and what can be read from it."""

from __future__ import annotations

import queue
import random
import threading

import pytest
from portal_records import ATLANTA, HOUR, MINUTE, T0, approved, check, entity_status
from sqlalchemy import create_engine, select, text

from connectors.applied import Claim, FencedError, TopicPartition
from connectors.portal import tables
from connectors.portal.apply import Arrived
from connectors.portal.progress import Progress
from connectors.portal.store import AmbiguousError, Store
from connectors.portal.writer import Batch, StoreWriter
from connectors.sinks.engines import BUSY_MS
from pipeline.contract.names import APPROVED, ENTITY_STATUS
from pipeline.governance.identity import Key, entity_key

SHIPMENT = Key("acme", "shipment", "SHP-1001")
NOW = T0 + 24 * HOUR


@pytest.fixture
def writer(url):
    engine = tables.open_writer(url)
    yield StoreWriter(engine, url, lambda: NOW)
    engine.dispose()


@pytest.fixture
def store(url, writer):
    engine = tables.open_reader(url)
    yield Store(engine)
    engine.dispose()


def arrived(*records):
    """Records as if read one after the other, a second apart."""
    return [
        Arrived(
            ENTITY_STATUS if "milestones" in record else APPROVED,
            0,
            offset,
            T0 + offset * 1_000,
            check(record, "entity-status" if "milestones" in record else "approved-milestone"),
        )
        for offset, record in enumerate(records)
    ]


def put(writer, *records):
    batch = Batch()
    for item in arrived(*records):
        batch.add(item)
    writer.commit(batch, {})


def rows(url, table, *columns):
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(select(*columns).select_from(table))]
    engine.dispose()
    return sorted(found)


def test_every_revision_is_kept_and_the_newest_is_current(writer, store, url):
    put(
        writer,
        approved(seq=1),
        approved(seq=2, revision=2, occurred=T0 - HOUR),
        approved("delivered", seq=3, status_after="delivered", stop=ATLANTA),
    )
    found = store.revisions(SHIPMENT)
    assert [(r.record["event_type"], r.record["revision"]) for r in found] == [
        ("departed", 1),
        ("departed", 2),
        ("delivered", 1),
    ]
    assert {r.applied_ms for r in found} == {NOW}
    table = tables.milestone
    assert rows(url, table, table.c.event_type, table.c.revision, table.c.occurred) == [
        ("delivered", 1, T0),
        ("departed", 2, T0 - HOUR),
    ]
    assert store.find("shipment", "SHP-1001", None).status == "delivered"


def test_applying_twice_or_in_another_order_changes_nothing(new_store):
    records = [
        approved(seq=1),
        approved(seq=2, revision=2),
        approved("delivered", seq=3, status_after="delivered"),
        entity_status(seq=3, status="delivered"),
    ]
    contents = []
    for seed in range(6):
        url = new_store()
        engine = tables.open_writer(url)
        writer = StoreWriter(engine, url, lambda: NOW)
        batches = [[item] for item in arrived(*records)]
        if seed:
            random.Random(seed).shuffle(batches)
            batches += batches
        for items in batches:
            batch = Batch()
            for item in items:
                batch.add(item)
            writer.commit(batch, {})
        contents.append(
            [
                rows(url, table, *[c for c in table.columns if c.name != "change"])
                for table in (tables.revision, tables.milestone, tables.entity, tables.reference)
            ]
        )
        engine.dispose()
    assert all(content == contents[0] for content in contents[1:])


def test_only_what_was_published_until_then_is_known(writer, store):
    put(writer, approved(seq=1), approved(seq=2, revision=2))
    assert [r.record["revision"] for r in store.revisions(SHIPMENT, known_at_ms=T0)] == [1]
    assert len(store.revisions(SHIPMENT, known_at_ms=T0 + 1_000)) == 2


def test_a_word_that_this_version_does_not_know_moves_no_status(writer, store):
    put(
        writer,
        approved(seq=1),
        approved(seq=2, revision=2, action="UNRECOGNISED", status_after="vanished"),
    )
    assert store.find("shipment", "SHP-1001", None).status == "shipped"
    assert len(store.revisions(SHIPMENT)) == 2


def test_any_name_finds_an_entity_however_it_is_spelled(writer, store):
    put(
        writer,
        entity_status(seq=1),
        approved(seq=2, references=[{"kind": "BOL", "scope": "", "value": "B-77"}]),
    )
    for text_ in (
        "SHP-1001",
        "shp1001",
        "shp 10",
        "0047-1122",
        "4711",
        "80001234",
        "0080001234",
        "b77",
    ):
        assert [hit.head.key for hit in store.search(text_, 10)] == [SHIPMENT], text_
    assert store.search("nothing", 10) == []
    assert store.search("-- ", 10) == []


def test_whole_names_come_first_and_the_answer_is_limited(writer, store):
    put(
        writer,
        *[approved(entity_id=f"SHP-{number}", seq=1) for number in (10, 100, 1000, 10001)],
        approved(
            entity_id="ELSE", seq=1, references=[{"kind": "PO", "scope": "", "value": "SHP10"}]
        ),
    )
    found = [hit.head.key.id for hit in store.search("shp10", 3)]
    assert found[:2] == ["SHP-10", "ELSE"]
    assert len(found) == 3


def test_a_name_that_the_entity_no_longer_has_finds_it_no_more(writer, store):
    put(writer, entity_status(seq=1))
    put(writer, entity_status(seq=2, references=[]))
    assert store.search("00471122", 5) == []
    assert store.search("SHP-1001", 5)


def test_the_id_of_an_event_finds_its_entity_as_a_whole_only(writer, store):
    record = approved(seq=1, source_event_id="TMS-99/4711#2")
    put(writer, record, entity_status(seq=1))
    event = record["event_id"]
    for text_ in ("TMS-99/4711#2", " tms 99 4711 2", event, event.upper(), record["milestone_id"]):
        (hit,) = store.search(text_, 5)
        assert (hit.head.key, hit.kind) == (SHIPMENT, "EVENT"), text_
    assert store.search("TMS-99/4711", 5) == []
    assert store.search(record["milestone_id"][:12], 5) == []
    assert store.search("TMS-99/4711#2", 5, tenant="other") == []


def split(seq, *parts, **changes):
    keys = [entity_key("acme", "shipment", name) for name in parts]
    return approved("shipment.changed", seq, shipments=keys, **changes)


def test_a_part_finds_the_shipment_that_was_split_whatever_else_is_told_of_that(writer, store):
    put(writer, split(1, "S-A", "S-B"))
    put(writer, entity_status(seq=1))
    assert [(hit.head.key, hit.kind) for hit in store.search("s a", 5)] == [(SHIPMENT, "PART")]

    put(writer, approved(entity_id="S-A"))
    assert [hit.head.key.id for hit in store.search("S-A", 5)] == ["S-A", "SHP-1001"]
    assert [head.key for head in store.parents(Key("acme", "shipment", "S-A"))] == [SHIPMENT]
    assert store.parents(Key("other", "shipment", "S-A")) == []


def test_a_split_that_was_changed_or_taken_back_names_its_former_parts_no_more(writer, store):
    put(writer, split(1, "S-A", "S-B"))
    put(writer, split(2, "S-A", "S-C", revision=2))
    assert store.search("S-B", 5) == []
    assert [hit.head.key for hit in store.search("S-C", 5)] == [SHIPMENT]

    put(writer, split(3, "S-A", "S-C", revision=3, action="RETRACT"))
    assert store.search("S-C", 5) == []
    assert store.parents(Key("acme", "shipment", "S-A")) == []


def test_an_id_is_found_in_another_spelling_but_never_as_a_guess(writer, store):
    put(writer, approved(seq=1))
    assert store.find("shipment", "shp1001", None).key == SHIPMENT
    assert store.find("shipment", "SHP-100", None) is None
    assert store.find("order", "SHP-1001", None) is None


def test_tenants_are_kept_apart(writer, store, url):
    put(writer, approved(seq=1), approved(seq=1, tenant="other"))
    with pytest.raises(AmbiguousError, match="acme, other"):
        store.find("shipment", "SHP-1001", None)
    assert store.find("shipment", "SHP-1001", "other").key.tenant == "other"
    engine = tables.open_reader(url)
    narrow = Store(engine, tenant="acme")
    assert narrow.find("shipment", "SHP-1001", None).key == SHIPMENT
    assert narrow.find("shipment", "SHP-1001", "other") is None
    assert {hit.head.key.tenant for hit in narrow.search("SHP", 9)} == {"acme"}
    assert {head.key.tenant for head in narrow.recent(9)} == {"acme"}
    assert narrow.heads([Key("other", "shipment", "SHP-1001")]) == {}
    assert [key.tenant for _, key, _ in narrow.changed_after(0, 9)] == ["acme"]
    engine.dispose()


def test_changes_are_numbered_and_an_entity_appears_with_its_newest(writer, store):
    put(writer, approved(seq=1))
    put(writer, approved(entity_id="SHP-2", seq=1))
    put(writer, approved("delivered", seq=2, status_after="delivered"))
    changed = store.changed_after(0, 10)
    assert [(number, key.id, status) for number, key, status in changed] == [
        (2, "SHP-2", "shipped"),
        (3, "SHP-1001", "delivered"),
    ]
    assert store.newest_change() == 3
    assert store.changed_after(3, 10) == []


def test_an_order_is_known_by_its_links(writer, store):
    put(
        writer,
        entity_status(seq=1),
        entity_status(
            entity_type="order",
            entity_id="80001234",
            linked=[{"key": entity_key("acme", "shipment", "SHP-1001"), "status": ""}],
            seq=1,
        ),
    )
    order = Key("acme", "order", "80001234")
    assert store.heads([order, Key("acme", "order", "none")]).keys() == {order}
    assert [hit.head.key for hit in store.search("80001234", 5)] == [order, SHIPMENT]


def test_positions_and_effects_are_one(writer, store, url):
    at = TopicPartition(APPROVED, 0)
    zombie = writer.claim([at])
    current = writer.claim([at])
    zombie[at].record(0, T0)
    batch = Batch()
    batch.add(arrived(approved(seq=1))[0])
    with pytest.raises(FencedError):
        writer.commit(batch, zombie)
    assert store.revisions(SHIPMENT) == []
    current[at].record(0, T0)
    writer.commit(batch, current)
    assert len(store.revisions(SHIPMENT)) == 1
    assert writer.claim([at])[at].position == 1


def test_the_store_is_as_fresh_as_its_least_fresh_partition(writer, store):
    ahead, behind = TopicPartition(APPROVED, 0), TopicPartition(APPROVED, 1)
    writer.prepare("cluster", [ahead, behind])
    partitions = writer.claim([ahead, behind])
    partitions[ahead].record(7, T0 + MINUTE)
    writer.commit(Batch(), partitions)
    assert store.freshness().verified_ms is None
    partitions[behind].asked_end(T0, 0)
    partitions[behind].reached_end(0)
    writer.commit(Batch(), partitions)
    assert store.freshness().verified_ms == T0
    writer.tell("waiting", "Kafka does not answer", T0)
    told = store.freshness()
    assert (told.state, told.detail, told.since_ms, told.heard_ms) == (
        "waiting",
        "Kafka does not answer",
        T0,
        NOW,
    )


def test_a_store_follows_one_cluster(writer):
    writer.prepare("cluster", [TopicPartition(APPROVED, 0)])
    writer.prepare("cluster", [TopicPartition(APPROVED, 0)])
    with pytest.raises(tables.StoreError, match="follows Kafka cluster cluster"):
        writer.prepare("another", [TopicPartition(APPROVED, 0)])


def test_a_store_of_another_version_is_refused_with_a_remedy(writer, url):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE store SET version = 99"))
    engine.dispose()
    with pytest.raises(tables.StoreError, match="built anew from the topics"):
        tables.open_writer(url)


def test_a_database_that_cannot_be_used_is_told_with_a_remedy(tmp_path):
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(tables.StoreError, match="correct MILEPOST_PORTAL_DATABASE_URL"):
        tables.open_reader(f"sqlite:///{tmp_path / 'folder.sqlite'}")


@pytest.mark.parametrize(
    ("new_store", "ask", "due"),
    [
        ("sqlite", "PRAGMA", {"journal_mode": "wal", "synchronous": 2, "busy_timeout": BUSY_MS}),
        (
            "postgresql",
            "SHOW",
            {
                "fsync": "on",
                "synchronous_commit": "on",
                "lock_timeout": f"{BUSY_MS // 1_000}s",
                "idle_in_transaction_session_timeout": "30s",
                "statement_timeout": "1min",
                "transaction_isolation": "read committed",
            },
        ),
    ],
    indirect=["new_store"],
)
def test_commits_are_durable_and_nobody_waits_for_ever_by_the_databases_own_account(url, ask, due):
    engine = tables.open_writer(url)
    with engine.connect() as connection:
        found = {name: connection.execute(text(f"{ask} {name}")).scalar_one() for name in due}
    engine.dispose()
    assert found == due


@pytest.mark.parametrize(
    "name",
    ["A\0B", "\u1f57" * 200, "\U0001f4e6" * 200, "".join(map(chr, range(0x20000, 0x200C8)))],
    ids=["with a NUL", "longer in capitals", "four bytes a letter", "of rare letters"],
)
def test_whatever_a_partner_calls_a_thing_is_kept_and_found(writer, store, name):
    written = name.upper()  # as a rule of its platform may have it
    reference = {"kind": name, "scope": "", "value": name[::-1]}
    put(writer, approved(entity_id=written, references=[reference], source_event_id=name))
    put(writer, entity_status(entity_id=written, references=[reference], linked=[]))
    found = store.find("shipment", written, None)
    assert found.status == "shipped"
    assert [r.record["entity_id"] for r in store.revisions(found.key)] == [written]
    if "B" in written:  # whoever types it leaves out what can't be seen
        assert [hit.head.key for hit in store.search("ab", 5)] == [found.key]


def test_names_are_in_the_order_of_their_letters_numbers_everywhere(writer, store):
    for name in ("a-1", "B-1", "\u00c4-1"):
        put(
            writer, approved(entity_id=name, references=[{"kind": "PO", "scope": "", "value": "1"}])
        )
    assert [hit.head.key.id for hit in store.search("1", 5)] == ["B-1", "a-1", "\u00c4-1"]
    assert [hit.head.key.id for hit in store.search("a", 5)] == ["a-1"]


def test_two_sinks_write_the_same_entities_at_once_and_neither_fails(url, store):
    """One has the approved records, the other the status: rows of both in any order."""
    names = [f"SHP-{number}" for number in range(12)]
    failed = []

    def write(records, seed):
        engine = tables.open_writer(url)
        chance = random.Random(seed)
        try:
            for _ in range(15):
                put(StoreWriter(engine, url, lambda: NOW), *chance.sample(records, len(records)))
        except Exception as error:  # noqa: BLE001  of a thread; told below
            failed.append(error)
        finally:
            engine.dispose()

    sinks = [
        threading.Thread(target=write, args=(records, seed))
        for seed, records in enumerate(
            ([approved(entity_id=n) for n in names], [entity_status(entity_id=n) for n in names])
        )
    ]
    for sink in sinks:
        sink.start()
    for sink in sinks:
        sink.join(60)
    assert failed == []
    assert len(store.recent(50)) == len(names)
    assert store.newest_change() == 2 * 15 * len(names)


def test_many_that_find_no_store_create_one(new_store):
    url = new_store()
    opened = queue.SimpleQueue()

    def come():
        try:
            tables.open_reader(url).dispose()
        except Exception as error:  # noqa: BLE001  of a thread; told below
            opened.put(error)
        else:
            opened.put("opened")

    coming = [threading.Thread(target=come) for _ in range(6)]
    for one in coming:
        one.start()
    for one in coming:
        one.join(60)
    assert [opened.get() for _ in coming] == ["opened"] * 6


def test_a_reader_waits_for_no_writer_and_sees_what_was_committed(url, writer, store):
    put(writer, approved(seq=1))
    with writer._turn() as connection:
        connection.execute(tables.entity.update().values(status="lost"))
        assert store.find("shipment", "SHP-1001", None).status == "shipped"
    assert store.find("shipment", "SHP-1001", None).status == "lost"


def test_progress_is_complete_up_to_the_question_once_the_answer_was_read():
    progress = Progress(Claim(-1, 1))
    progress.record(4, T0)
    assert (progress.position, progress.read_to_ms) == (5, T0)
    progress.asked_end(T0 + 10, 8)
    progress.asked_end(T0 + 20, 9)
    assert (progress.read_to_ms, progress.behind) == (T0, 4)
    progress.record(6, T0 + 2)
    progress.reached_end(8)
    assert progress.read_to_ms == T0 + 10
    progress.asked_end(T0 + 30, 8)
    assert (progress.read_to_ms, progress.behind) == (T0 + 30, 0)
    progress.told(Claim(8, 1))
    assert not progress.news
