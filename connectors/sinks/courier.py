"""The courier: sends what is due in the outbox to the ERP and writes down what became of it.

One thread claims and settles; the calls are made in a pool. An outage costs a posting nothing: the
endpoint's gate closes and everything waits. Must never know Kafka or the meaning of a milestone.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from connectors.applied import upsert
from connectors.sinks import answers
from connectors.sinks.answers import Answer, Verdict
from connectors.sinks.entries import Why
from connectors.sinks.gate import Gate, backoff_ms
from connectors.sinks.outbox import Claim, Outbox
from connectors.sinks.outbox_tables import ENDPOINTS
from connectors.sinks.postings import Endpoint
from pipeline.telemetry.metrics import Metrics

ANSWER_BYTES_MAX: Final = 65_536
IDLE_MS: Final = 1_000
"""The courier looks at least that often whether something is due."""
GATHER_S: Final = 0.01
_LEASE_TIMEOUTS = 12  # behind others in the pool: each connects, writes and reads, perhaps twice
_log = structlog.get_logger(__name__)


class _Outcome(NamedTuple):
    answer: Answer
    maybe_booked: bool


class ErpClient:
    """Calls the ERP: one posting, or the question whether a key was booked.

    Args:
        http: knows the ERP's address and credentials; shared between threads.
        clock_ms: the time, ms UTC.
        metrics: calls are timed there.

    """

    def __init__(
        self, http: httpx.Client, clock_ms: Callable[[], int], metrics: Metrics | None = None
    ) -> None:
        self._http = http
        self._clock_ms = clock_ms
        self._metrics = metrics or Metrics()

    def post(self, endpoint: Endpoint, key: str, body: str) -> Answer:
        """Send a posting."""
        headers = {"idempotency-key": key, "content-type": "application/json"}
        began = time.monotonic()
        answer = self._call(endpoint, "POST", endpoint.path, answers.judge, headers, body)
        seconds, outcome = time.monotonic() - began, answer.verdict.value
        self._metrics.record("milepost_posting_seconds", seconds, sink="erp", outcome=outcome)
        return answer

    def ask(self, endpoint: Endpoint, key: str) -> Answer:
        """Ask whether a key was booked; nothing is changed by that."""
        path = f"{endpoint.path}/{quote(key, safe='')}"
        return self._call(endpoint, "GET", path, answers.judge_question, {}, None)

    def _call(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        judge: Callable[[int, Mapping[str, str], bytes, int], Answer],
        headers: dict[str, str],
        content: str | None,
    ) -> Answer:
        limit_s = endpoint.timeout.total_seconds()
        ends = time.monotonic() + 2 * limit_s
        headers = {"accept": "application/json", "accept-encoding": "identity", **headers}
        try:
            with self._http.stream(
                method, path, headers=headers, content=content, timeout=limit_s
            ) as response:
                body = b""
                for part in response.iter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        break
                    if time.monotonic() > ends:
                        raise httpx.ReadTimeout("the answer did not end")
        except httpx.HTTPError as error:
            return answers.judge_failure(error)
        return judge(response.status_code, response.headers, body, self._clock_ms())


class Courier:
    """Sends entries of the partitions it is given.

    Args:
        engine: the outbox's database.
        outbox: its entries.
        erp: the ERP.
        pool: makes the calls; as many threads as all endpoints allow in flight.
        epochs_in_force: epoch by partition as the database knows it, asked in a transaction.
        chance: jitter.

    """

    def __init__(
        self,
        engine: Engine,
        outbox: Outbox,
        erp: ErpClient,
        pool: Executor,
        epochs_in_force: Callable[[Connection], Mapping[int, int]],
        chance: random.Random,
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self._erp = erp
        self._pool = pool
        self._epochs_in_force = epochs_in_force
        self._chance = chance
        self._epochs: Mapping[int, int] = {}
        self._under_way: dict[Future[_Outcome], Claim] = {}
        self._troubled: dict[int, int] = {}
        self._expires_ms = 0
        self._known: dict[str, tuple[int, str]] = {}
        self._woken = threading.Event()
        self._gates = {
            name: Gate(endpoint.backoff, endpoint.in_flight, chance)
            for name, endpoint in outbox.rules.endpoints.items()
        }

    def own(self, epochs: Mapping[int, int]) -> None:
        """Send entries of these partitions from now on; from any thread.

        Nothing is ever given back: as soon as another worker claims a partition, the epoch in
        force is no longer this one's and its entries are left alone.
        """
        self._epochs = {**self._epochs, **epochs}
        self._woken.set()

    def wake(self) -> None:
        """Look at once whether something is due; from any thread."""
        self._woken.set()

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop; calls under way are settled first."""
        while not stop.is_set():
            self._woken.clear()
            if self._woken.wait(self._step_safely() / 1_000) and self._under_way:
                stop.wait(GATHER_S)  # what comes back together is written down together
        for future in list(self._under_way):
            future.exception()
        self._step_safely(claim=False)

    def step(self, *, claim: bool = True) -> int:
        """Settle what came back, send what is due.

        Returns:
            How long nothing else will be due, ms.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database can't be used now; nothing is lost.

        """
        self._settle()
        if not claim or not self._epochs:
            return IDLE_MS
        now = self._outbox.clock_ms()
        with self._engine.begin() as connection:
            claims = self._claim(connection, now)
            due_ms = self._outbox.next_due_ms(connection, list(self._epochs))
        for item in claims:
            future = self._pool.submit(self._send, item)
            self._under_way[future] = item
            future.add_done_callback(lambda _: self._woken.set())
        opens = [g.closed_until_ms for g in self._gates.values() if g.closed_until_ms > now]
        # What is due but was not claimed waits for a gate, or for something under way to come back
        times = opens if due_ms is None else [*opens, due_ms]
        return max(1, min([IDLE_MS, *(time_ms - now for time_ms in times)]))

    def _step_safely(self, *, claim: bool = True) -> int:
        try:
            return self.step(claim=claim)
        except SQLAlchemyError as error:
            _log.warning("outbox can't be used now, trying again", error=str(error).split("\n")[0])
            return IDLE_MS

    def _claim(self, connection: Connection, now: int) -> list[Claim]:
        in_force = self._epochs_in_force(connection)
        epochs = {p: epoch for p, epoch in self._epochs.items() if in_force.get(p) == epoch}
        if now >= self._expires_ms:
            under_way = [item.id for item in self._under_way.values()]
            self._outbox.expire(connection, list(epochs), under_way)
            self._expires_ms = now + IDLE_MS
        paused = self._exchange_notes(connection, now)
        claims: list[Claim] = []
        for name, gate in self._gates.items():
            busy = sum(item.endpoint == name for item in self._under_way.values())
            room = 0 if name in paused else gate.room(busy, now)
            if room:
                lease_ms = self._lease_ms(self._outbox.rules.endpoints[name])
                claims += self._outbox.claim(connection, epochs, name, room, lease_ms)
        return claims

    def _exchange_notes(self, connection: Connection, now: int) -> set[str]:
        """Write down what gates know, read what people ordered; names of paused endpoints."""
        rows = {row.name: row for row in connection.execute(select(ENDPOINTS))}
        for name, gate in self._gates.items():
            row = rows.get(name)
            if name not in self._known and row is not None and row.closed_until_ms > now:
                gate.close(row.closed_until_ms, row.words)
            note = (gate.closed_until_ms, gate.words)
            if self._known.get(name) != note:
                values = {"closed_until_ms": note[0], "words": note[1], "changed_ms": now}
                new = upsert(connection.dialect, ENDPOINTS).values(name=name, **values)
                changed = new.on_conflict_do_update(index_elements=["name"], set_=values)
                connection.execute(changed)
                self._known[name] = note
        return {name for name, row in rows.items() if row.paused_until_ms > now}

    def _send(self, claim: Claim) -> _Outcome:
        """Make the calls for one entry; runs in the pool."""
        try:
            return self._call(claim)
        except Exception as error:  # noqa: BLE001  a fault of ours in one must not stop the rest
            _log.error("posting could not be sent", key=claim.key, exc_info=True)
            failed = Answer(Verdict.TROUBLE, f"it could not be sent: {error!r}", sent=True)
            return _Outcome(failed, maybe_booked=True)

    def _call(self, claim: Claim) -> _Outcome:
        endpoint, gate = self._outbox.rules.endpoints[claim.endpoint], self._gates[claim.endpoint]
        maybe_booked = claim.maybe_booked
        now = self._outbox.clock_ms()
        if maybe_booked and _must_ask(endpoint, now - claim.first_attempt_ms):
            answer = self._erp.ask(endpoint, claim.key)
            if answer.verdict is not Verdict.UNKNOWN_KEY:
                self._learn(gate, answer)
                return _Outcome(answer, maybe_booked=True)
            maybe_booked = False
        # A worker that was frozen must not send what may be another's by now
        now = self._outbox.clock_ms()
        if claim.lease_until_ms - now < 3_000 * endpoint.timeout.total_seconds():
            late = Answer(Verdict.TROUBLE, "its lease was about to end", sent=False)
            return _Outcome(late, maybe_booked)
        if not gate.lets_pass(now):
            closed = Answer(Verdict.OUTAGE, gate.words, sent=False)
            return _Outcome(closed, maybe_booked)
        answer = self._erp.post(endpoint, claim.key, claim.body)
        self._learn(gate, answer)
        return _Outcome(answer, answer.sent or maybe_booked)

    def _learn(self, gate: Gate, answer: Answer) -> None:
        """Tell the gate at once what an answer says about its endpoint."""
        now = self._outbox.clock_ms()
        if answer.verdict is Verdict.BOOKED:
            gate.succeeded()
        elif answer.verdict is Verdict.REFUSED:
            gate.refused(now, answer.words)
        else:
            outage = answer.verdict is Verdict.OUTAGE
            gate.failed(now, answer.words, answer.wait_ms, outage=outage)

    def _settle(self) -> None:
        """Write down what came back."""
        finished = {future: item for future, item in self._under_way.items() if future.done()}
        if not finished:
            return
        now = self._outbox.clock_ms()
        came_back = [(item, future.result()) for future, item in finished.items()]
        booked = [(item, o.answer) for item, o in came_back if o.answer.verdict is Verdict.BOOKED]
        others = [(item, o) for item, o in came_back if o.answer.verdict is not Verdict.BOOKED]
        with self._engine.begin() as connection:
            ours = self._outbox.done(connection, [(item, a.document) for item, a in booked])
            ours += sum(self._record(connection, item, outcome, now) for item, outcome in others)
        if ours < len(came_back):
            _log.warning("postings were taken over by another worker", number=len(came_back) - ours)
        for future in finished:
            del self._under_way[future]
        for item, outcome in came_back:
            if outcome.answer.verdict is Verdict.TROUBLE:
                self._troubled[item.id] = self._gates[item.endpoint].successes
            elif outcome.answer.verdict is not Verdict.OUTAGE:
                self._troubled.pop(item.id, None)

    def _record(self, connection: Connection, item: Claim, outcome: _Outcome, now: int) -> bool:
        """Write down that it was not booked; False if the entry is no longer ours."""
        answer, maybe = outcome
        if answer.verdict is Verdict.REFUSED:
            words = f"the ERP refuses it: {answer.words}"
            if maybe:
                words += ". An earlier attempt may have been booked: look for the key in the ERP"
            return self._outbox.park(connection, item, Why.REFUSED, words, maybe_booked=maybe)
        endpoint = self._outbox.rules.endpoints[item.endpoint]
        wait, failures = 0, item.failures
        if answer.verdict is not Verdict.OUTAGE:
            failures += self._is_its_own_fault(item)
            if failures >= endpoint.gives_up_after:
                words = f"it failed {failures} times while others were booked: {answer.words}"
                why = Why.KEEPS_FAILING
                return self._outbox.park(connection, item, why, words, maybe_booked=maybe)
            wait = backoff_ms(endpoint.backoff, failures + 1, self._chance)
        if maybe and _must_ask(endpoint, now - item.first_attempt_ms):
            wait = max(wait, round(endpoint.settles_after.total_seconds() * 1_000))
        due = now + max(wait, answer.wait_ms or 0)
        return self._outbox.again(
            connection, item, due, answer.words, maybe_booked=maybe, failures=failures
        )

    def _is_its_own_fault(self, item: Claim) -> bool:
        """Whether others were booked between this entry's last failure and this one."""
        before = self._troubled.get(item.id)
        return before is not None and self._gates[item.endpoint].successes > before

    def _lease_ms(self, endpoint: Endpoint) -> int:
        seconds = _LEASE_TIMEOUTS * endpoint.timeout.total_seconds()
        return round(1_000 * (seconds + endpoint.settles_after.total_seconds()))


def _must_ask(endpoint: Endpoint, age_ms: int) -> bool:
    """Whether a key that may be booked must be asked for before it is sent again."""
    return not endpoint.honours_keys or age_ms > endpoint.keys_kept.total_seconds() * 1_000
