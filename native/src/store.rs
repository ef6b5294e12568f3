//! The entities of one partition: kept encoded, opened where plain claims speak of them.
//!
//! Whoever opens an entity in Python borrows it until the block is written: till then the plain path
//! leaves it alone. Must never know Kafka.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::avro::{Plainly, Unusual};
use crate::batch::Batch;
use crate::entity::Entity;
use crate::identity;
use crate::judge::{self, Outcome, Record, Setting};
use crate::kept::Kept;
use crate::policy::{Policy, Text};
use crate::raw::Body;
use crate::records;

/// A policy bundle, read; each time it is read it has another number.
#[pyclass(frozen)]
pub struct Tables {
    policy: Policy,
    number: usize,
}

static TABLES: AtomicUsize = AtomicUsize::new(1);

#[pymethods]
impl Tables {
    #[new]
    fn new(policy: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Tables { policy: Policy::read(policy)?, number: TABLES.fetch_add(1, Relaxed) })
    }
}

/// What is written, and with which schema ids.
#[pyclass(frozen)]
pub struct Writing {
    headers: Py<PyAny>,
    transition: Py<PyAny>,
    approved: Py<PyString>,
    approved_id: u32,
    links: Py<PyString>,
    link_id: u32,
    status_id: u32,
    partitions: u32,
}

#[pymethods]
impl Writing {
    #[new]
    #[allow(clippy::too_many_arguments)]
    fn new(
        headers: Py<PyAny>,
        transition: Py<PyAny>,
        approved: Py<PyString>,
        approved_id: u32,
        links: Py<PyString>,
        link_id: u32,
        status_id: u32,
        partitions: u32,
    ) -> Self {
        Writing { headers, transition, approved, approved_id, links, link_id, status_id, partitions }
    }
}

/// Entities that stay open in all partitions together, and in each at least.
const OPEN_MAX: usize = 8_000;
const OPEN_MIN: usize = 100;
static OPEN: AtomicUsize = AtomicUsize::new(0);

impl Drop for Store {
    fn drop(&mut self) {
        OPEN.fetch_sub(self.opened.len(), Relaxed);
    }
}

struct Stored {
    value: Kept,
    /// In the partition's running digest, once it was asked for.
    digest: Option<u128>,
}

#[derive(Default)]
struct Live {
    /// None: not plain.
    entity: Option<Entity>,
    touched: bool,
    told: bool,
}

/// What a run of claims brought.
#[pyclass(frozen, get_all)]
pub struct Judged {
    /// Index behind the last record that was judged.
    at: usize,
    /// Key of the lent entity that the next one is about, if it may be taken back.
    wanted: Option<String>,
    /// Their rows of the ledger, encoded.
    rows: Py<PyBytes>,
    /// Dispositions, reasons, and how many of each.
    verdicts: Py<PyList>,
    /// Outputs, each with the append time of its claim.
    approved: Py<PyList>,
    received: Py<PyList>,
    links: Py<PyList>,
    transitions: Py<PyList>,
    /// Keys of entities that have changed, and of those whose story has, since the last block.
    touched: Py<PyList>,
    told: Py<PyList>,
    /// Next deadline of those that have or had one.
    deadlines: Py<PyList>,
}

#[pyclass]
pub struct Store {
    partition: i32,
    stored: FxHashMap<Text, Stored>,
    live: FxHashMap<Text, Live>,
    opened: VecDeque<Text>,
    /// What Python has opened, and whether it can't be taken back.
    lent: FxHashMap<Text, bool>,
    /// By which policy live entities were read.
    policy: usize,
    headers: FxHashMap<(Text, Text), Py<PyAny>>,
}

#[pymethods]
impl Store {
    #[new]
    fn new(partition: i32) -> Self {
        Store {
            partition,
            stored: FxHashMap::default(),
            live: FxHashMap::default(),
            opened: VecDeque::new(),
            lent: FxHashMap::default(),
            policy: 0,
            headers: FxHashMap::default(),
        }
    }

    /// How many entities are stored.
    fn __len__(&self) -> usize {
        self.stored.len()
    }

    fn __contains__(&self, key: &str) -> bool {
        self.stored.contains_key(key) || self.live.get(key).is_some_and(|live| live.touched)
    }

    fn get<'py>(&self, py: Python<'py>, key: &str) -> Option<Bound<'py, PyBytes>> {
        self.stored.get(key).map(|stored| PyBytes::new(py, &stored.value))
    }

    fn keys(&self) -> Vec<&str> {
        self.stored.keys().map(|key| &**key).collect()
    }

    fn __setitem__(&mut self, key: &str, value: &[u8]) {
        self.live.remove(key);
        self.stored.insert(key.into(), Stored { value: value.into(), digest: None });
    }

    fn __delitem__(&mut self, key: &str) -> PyResult<()> {
        let changed = self.live.remove(key).is_some_and(|live| live.touched);
        let known = self.stored.remove(key).is_some();
        if changed || known { Ok(()) } else { Err(PyKeyError::new_err(key.to_owned())) }
    }

    /// Leave an entity to Python until the block is written or it is taken back.
    fn lend(&mut self, key: &str) {
        if !self.lent.contains_key(key) {
            self.lent.insert(key.into(), false);
        }
    }

    /// Take back an entity that was lent.
    ///
    /// Args:
    ///     value: its state, if Python has changed it.
    ///     told: whether its story has changed since the last block.
    ///
    /// Returns:
    ///     Whether it is plain still; otherwise it stays lent.
    fn take_back(&mut self, tables: &Tables, key: &str, value: Option<&[u8]>, told: bool) -> bool {
        if let Some(value) = value {
            let Ok(entity) = Entity::read(&tables.policy, key, value) else {
                self.lent.insert(key.into(), true);
                return false;
            };
            let live = Live { entity: Some(entity), touched: true, told };
            if self.live.insert(key.into(), live).is_none() {
                self.opened.push_back(key.into());
                OPEN.fetch_add(1, Relaxed);
            }
        }
        self.lent.remove(key);
        true
    }

    /// An entity's state as it is now.
    fn current<'py>(&mut self, py: Python<'py>, key: &str) -> Option<Bound<'py, PyBytes>> {
        if let Some(Live { entity: Some(entity), touched: true, .. }) = self.live.get_mut(key) {
            let value = entity.write();
            return Some(PyBytes::new(py, &value));
        }
        self.get(py, key)
    }

    /// The block is written: nothing is lent any more, and few entities stay open.
    fn settle(&mut self) {
        self.lent.clear();
        while self.opened.len() > OPEN_MIN && OPEN.load(Relaxed) > OPEN_MAX {
            let oldest = self.opened.pop_front().expect("some are open");
            self.live.remove(&oldest);
            OPEN.fetch_sub(1, Relaxed);
        }
    }

    /// Judge claims until one is not plain.
    #[allow(clippy::too_many_arguments)]
    fn judge(
        &mut self,
        py: Python<'_>,
        tables: &Tables,
        writing: &Writing,
        batch: &Batch,
        first: usize,
        last: usize,
        seq: i64,
        inputs: &Bound<'_, PyDict>,
        clock: i64,
        ahead: Vec<(String, i64)>,
        held_back: &Bound<'_, PyDict>,
        counts: &Bound<'_, PyDict>,
    ) -> PyResult<Judged> {
        let policy = &tables.policy;
        if self.policy != tables.number {
            self.policy = tables.number;
            self.live.retain(|_, live| live.touched);
            let before = self.opened.len();
            self.opened.retain(|key| self.live.contains_key(key));
            OPEN.fetch_sub(before - self.opened.len(), Relaxed);
        }
        let setting = Setting {
            policy,
            partition: self.partition,
            partitions: writing.partitions,
            clock,
            ahead,
            approved_id: writing.approved_id.to_be_bytes(),
            link_id: writing.link_id.to_be_bytes(),
        };
        let mut trust = Trust::read(policy, held_back, counts)?;
        let inputs =
            batch.topics.iter().map(|topic| inputs.get_item(topic)?.map_or(Ok(-1), |at| at.extract()));
        let inputs: Vec<i64> = inputs.collect::<PyResult<_>>()?;
        let values =
            batch.records[first..last].iter().map_while(|taken| Some(taken.value.as_ref()?.as_bytes(py)));
        let values: Vec<&[u8]> = values.collect();
        let taken = batch.records[first..last].iter().zip(values);
        let mut wanted = None;
        let (rows, done) = py.detach(|| {
            let mut rows = Vec::with_capacity(1 << 14);
            let mut done = Vec::new();
            for (taken, value) in taken {
                let Ok(body) = Body::read(value) else { break };
                let record = Record {
                    topic: &batch.topics[usize::from(taken.topic)],
                    offset: taken.offset,
                    received: taken.received,
                    size: (taken.key_bytes + value.len()) as i64,
                    digest: identity::digest(value),
                    seq: seq + done.len() as i64,
                };
                let Ok(platform) = trust.allows(body.platform) else { break };
                let Ok((key, outcome)) = self.judge_one(&setting, &body, &record, &mut wanted) else { break };
                trust.count(platform);
                judge::row(&mut rows, inputs[usize::from(taken.topic)], &record, &key, &body, &outcome);
                done.push(self.note(key, &record, outcome));
            }
            (rows, done)
        });
        trust.write(counts)?;
        self.tell(py, writing, first, &rows, &done, wanted)
    }

    /// The status record of each entity; None: it is lent, or not known here.
    fn status<'py>(
        &self,
        py: Python<'py>,
        tables: &Tables,
        writing: &Writing,
        keys: Vec<String>,
    ) -> Vec<Option<Bound<'py, PyBytes>>> {
        let id = writing.status_id.to_be_bytes();
        let values: Vec<Option<Vec<u8>>> = py.detach(|| {
            keys.iter()
                .map(|key| {
                    let live = self.live.get(key).filter(|live| live.told)?;
                    Some(records::status(&tables.policy, id, live.entity.as_ref()?))
                })
                .collect()
        });
        values.into_iter().map(|value| value.map(|value| PyBytes::new(py, &value))).collect()
    }

    /// Encode entities that were changed here.
    ///
    /// Returns:
    ///     Key, value and, of one that is new, last activity of each; what the running digest and
    ///     the size of all change by.
    fn save<'py>(&mut self, py: Python<'py>, keys: Vec<String>) -> PyResult<(Bound<'py, PyList>, u128, i64)> {
        let (mut digest, mut size) = (0_u128, 0_i64);
        let saved: Vec<(String, Option<i64>)> =
            py.detach(|| keys.into_iter().map(|key| self.save_one(key, &mut digest, &mut size)).collect());
        let entries = PyList::empty(py);
        for (key, born) in &saved {
            let value = PyBytes::new(py, &self.stored[key].value);
            entries.append((PyBytes::new(py, key.as_bytes()), value, *born))?;
        }
        Ok((entries, digest, size))
    }
}

impl Store {
    /// Encode an entity that was changed; of one that is new, its last activity.
    fn save_one(&mut self, key: String, digest: &mut u128, size: &mut i64) -> (String, Option<i64>) {
        let live = self.live.get_mut(&key).expect("it was changed here");
        (live.touched, live.told) = (false, false);
        let entity = live.entity.as_mut().expect("it is plain");
        let value = entity.write();
        let after = identity::entity_digest(key.as_bytes(), &value);
        let before = self.stored.get(&key);
        let born = before.is_none().then_some(entity.active);
        if let Some(before) = before {
            let known = before.digest;
            let known = known.unwrap_or_else(|| identity::entity_digest(key.as_bytes(), &before.value));
            *digest = digest.wrapping_sub(known);
            *size -= before.value.len() as i64;
        }
        *digest = digest.wrapping_add(after);
        *size += value.len() as i64;
        self.stored.insert(key.clone(), Stored { value: value.as_slice().into(), digest: Some(after) });
        (key, born)
    }

    fn judge_one(
        &mut self,
        setting: &Setting,
        body: &Body,
        record: &Record,
        wanted: &mut Option<String>,
    ) -> Plainly<(String, Outcome)> {
        let policy = setting.policy;
        let (platform, tenant) = judge::speaker(policy, record.topic, body)?;
        let key = judge::key_of(platform, tenant, body)?;
        if let Some(kept) = self.lent.get(&key) {
            *wanted = Some(key).filter(|_| !kept);
            return Err(Unusual);
        }
        if !self.live.contains_key(&*key) {
            let live = match self.stored.get(&*key) {
                Some(stored) => Entity::read(policy, &key, &stored.value).ok(),
                None => {
                    let here = identity::partition_of(key.as_bytes(), setting.partitions);
                    if here != setting.partition as u32 {
                        return Err(Unusual);
                    }
                    Some(Entity::new(&key)?)
                }
            };
            self.opened.push_back((*key).into());
            OPEN.fetch_add(1, Relaxed);
            self.live.insert((*key).into(), Live { entity: live, ..Live::default() });
        }
        let live = self.live.get_mut(&*key).expect("it was just opened");
        let entity = live.entity.as_mut().ok_or(Unusual)?;
        let outcome = judge::judge(setting, entity, platform, body, record)?;
        Ok((key, outcome))
    }

    /// Note what a claim has changed.
    fn note(&mut self, key: String, record: &Record, outcome: Outcome) -> Done {
        let mut done = Done {
            received: record.received,
            seq: record.seq,
            touched: false,
            told: false,
            tenant: Text::default(),
            deadline: None,
            key,
            outcome,
        };
        if done.outcome.touched {
            let live = self.live.get_mut(&done.key).expect("it was just judged");
            let entity = live.entity.as_ref().expect("it is plain");
            done.touched = !std::mem::replace(&mut live.touched, true);
            if done.outcome.approved.is_some() {
                done.told = !std::mem::replace(&mut live.told, true);
                done.tenant = entity.tenant.clone();
            }
            let waited = entity.deadline.is_some() || !done.outcome.transitions.is_empty();
            if done.outcome.deadline.is_some() || waited {
                done.deadline = Some(entity.next_deadline());
            }
        }
        done
    }

    /// What a run of claims has brought, for Python.
    fn tell(
        &mut self,
        py: Python<'_>,
        writing: &Writing,
        first: usize,
        rows: &[u8],
        done: &[Done],
        wanted: Option<String>,
    ) -> PyResult<Judged> {
        let list = || PyList::empty(py);
        let (verdicts, approved, received, links) = (list(), list(), list(), list());
        let (transitions, touched, told, deadlines) = (list(), list(), list(), list());
        let mut counts: Vec<((&str, &str), usize)> = Vec::new();
        for item in done {
            let outcome = &item.outcome;
            let verdict = (outcome.disposition, outcome.reason);
            match counts.iter_mut().find(|(known, _)| *known == verdict) {
                Some((_, count)) => *count += 1,
                None => counts.push((verdict, 1)),
            }
            if item.touched {
                touched.append(&item.key)?;
            }
            if item.told {
                told.append(&item.key)?;
            }
            if let Some(value) = &outcome.approved {
                let headers = self.headers_of(py, writing, &outcome.event_type, &item.tenant)?;
                let (name, key) = (&writing.approved, PyBytes::new(py, item.key.as_bytes()));
                let fields = (name, self.partition, key, PyBytes::new(py, value), headers);
                approved.append(fields)?;
                received.append(item.received)?;
            }
            for (target, value) in &outcome.links {
                let there = identity::partition_of(target.as_bytes(), writing.partitions);
                let (name, target) = (&writing.links, PyBytes::new(py, target.as_bytes()));
                let fields = (name, there, target, PyBytes::new(py, value), py.None());
                links.append(fields)?;
            }
            for row in &outcome.transitions {
                let (words, event_type) = ((&*row.before, row.after), &*row.event_type);
                let fields = (
                    (row.seq, item.seq, words.0, words.1, row.reason, &*row.rule),
                    (&*item.key, event_type, &*row.milestone, 0, &*row.platform, &*row.claim),
                );
                let (one, other) = (fields.0.into_pyobject(py)?, fields.1.into_pyobject(py)?);
                let fields = one.as_sequence().concat(other.as_sequence())?.to_tuple()?;
                transitions.append(writing.transition.call1(py, fields)?)?;
            }
            if let Some(deadline) = item.deadline {
                deadlines.append((&item.key, deadline))?;
            }
        }
        for ((disposition, reason), count) in counts {
            verdicts.append((PyString::intern(py, disposition), PyString::intern(py, reason), count))?;
        }
        Ok(Judged {
            at: first + done.len(),
            wanted,
            rows: PyBytes::new(py, rows).unbind(),
            verdicts: verdicts.unbind(),
            approved: approved.unbind(),
            received: received.unbind(),
            links: links.unbind(),
            transitions: transitions.unbind(),
            touched: touched.unbind(),
            told: told.unbind(),
            deadlines: deadlines.unbind(),
        })
    }

    /// Headers of a first revision by its owner; the same list each time.
    fn headers_of(
        &mut self,
        py: Python<'_>,
        writing: &Writing,
        event_type: &str,
        tenant: &str,
    ) -> PyResult<Py<PyAny>> {
        let name = (event_type.to_owned(), tenant.to_owned());
        if let Some(known) = self.headers.get(&name) {
            return Ok(known.clone_ref(py));
        }
        let made = writing.headers.call1(py, ("ASSERT", "AUTHORITATIVE", event_type, tenant))?;
        self.headers.insert(name, made.clone_ref(py));
        Ok(made)
    }
}

/// What came of one claim, and whether it was the first to change its entity since the last block.
struct Done {
    key: String,
    received: i64,
    seq: i64,
    outcome: Outcome,
    touched: bool,
    told: bool,
    tenant: Text,
    /// The entity's next deadline, if it has or had one.
    deadline: Option<Option<i64>>,
}

/// Which platforms are held back, and how many of their records were bad of late.
struct Trust<'a> {
    policy: &'a Policy,
    held_back: FxHashSet<String>,
    counts: Vec<Counts>,
}

/// Dead letters in a row, records of this window, dead letters of this window.
struct Counts {
    platform: String,
    told: [i64; 3],
    changed: bool,
    forgotten: bool,
}

impl<'a> Trust<'a> {
    fn read(policy: &'a Policy, held_back: &Bound<'_, PyDict>, counts: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut known = Vec::new();
        for (name, told) in counts {
            let (platform, told) = (name.extract()?, told.extract()?);
            known.push(Counts { platform, told, changed: false, forgotten: false });
        }
        let held_back = held_back.keys().iter().map(|name| name.extract()).collect::<PyResult<_>>()?;
        Ok(Trust { policy, held_back, counts: known })
    }

    /// Whether one more good record of a platform is judged as any; where it is counted.
    fn allows(&self, platform: &str) -> Plainly<Option<usize>> {
        if self.held_back.contains(platform) || self.policy.brake_run <= 0 {
            return Err(Unusual);
        }
        let known = |counts: &Counts| counts.platform == platform && !counts.forgotten;
        let Some(at) = self.counts.iter().position(known) else {
            return Ok(None);
        };
        let [_, window, bad] = self.counts[at].told;
        let full = window + 1 >= self.policy.brake_window;
        if full && bad as f64 > self.policy.brake_ratio * (window + 1) as f64 {
            return Err(Unusual);
        }
        Ok(Some(at))
    }

    fn count(&mut self, at: Option<usize>) {
        let Some(at) = at else { return };
        let counts = &mut self.counts[at];
        counts.changed = true;
        counts.told[0] = 0;
        counts.told[1] += 1;
        counts.forgotten = counts.told[1] >= self.policy.brake_window;
    }

    fn write(self, counts: &Bound<'_, PyDict>) -> PyResult<()> {
        for known in self.counts {
            if known.forgotten {
                counts.del_item(known.platform)?;
            } else if known.changed {
                counts.set_item(known.platform, known.told.to_vec())?;
            }
        }
        Ok(())
    }
}
