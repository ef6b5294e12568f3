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
use crate::policy::{Policy, Text};
use crate::raw::Body;
use crate::records;

/// A policy bundle, read.
#[pyclass(frozen)]
pub struct Tables(Policy);

#[pymethods]
impl Tables {
    #[new]
    fn new(policy: &Bound<'_, PyAny>) -> PyResult<Self> {
        Policy::read(policy).map(Tables)
    }
}

/// What is written, and with which schema ids; an output is made of a tuple of its fields.
#[pyclass(frozen)]
pub struct Writing {
    output: Py<PyAny>,
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
        output: Py<PyAny>,
        headers: Py<PyAny>,
        transition: Py<PyAny>,
        approved: Py<PyString>,
        approved_id: u32,
        links: Py<PyString>,
        link_id: u32,
        status_id: u32,
        partitions: u32,
    ) -> Self {
        Writing { output, headers, transition, approved, approved_id, links, link_id, status_id, partitions }
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
    value: Box<[u8]>,
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
    /// Their rows of the ledger, encoded.
    rows: Py<PyBytes>,
    /// Disposition, reason and append time of each.
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
    lent: FxHashSet<Text>,
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
            lent: FxHashSet::default(),
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
        self.live.remove(key);
        let found = self.stored.remove(key);
        found.map(|_| ()).ok_or_else(|| PyKeyError::new_err(key.to_owned()))
    }

    /// Leave an entity to Python until the block is written.
    fn lend(&mut self, key: &str) {
        if !self.lent.contains(key) {
            self.lent.insert(key.into());
        }
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
        let policy = &tables.0;
        let name = std::ptr::from_ref(policy) as usize;
        if self.policy != name {
            self.policy = name;
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
        let mut run = Run::new(py, batch, inputs)?;
        let mut at = first;
        while at < last {
            let taken = &batch.records[at];
            let Some(value) = &taken.value else { break };
            let value = value.as_bytes(py);
            let Ok(body) = Body::read(value) else { break };
            let record = Record {
                topic: &batch.topics[usize::from(taken.topic)],
                offset: taken.offset,
                received: taken.received,
                size: (taken.key_bytes + value.len()) as i64,
                digest: identity::digest(value),
                seq: seq + (at - first) as i64,
            };
            let Ok(platform) = trust.allows(body.platform) else { break };
            let Ok((key, outcome)) = self.judge_one(&setting, &body, &record) else { break };
            trust.count(platform);
            self.tell(py, writing, &mut run, &key, &body, &record, taken.topic, outcome)?;
            at += 1;
        }
        trust.write(counts)?;
        run.finish(py, at)
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
        keys.iter()
            .map(|key| {
                let entity = self.live.get(&**key).filter(|live| live.told)?.entity.as_ref()?;
                Some(PyBytes::new(py, &records::status(&tables.0, id, entity)))
            })
            .collect()
    }

    /// Encode entities that were changed here.
    ///
    /// Returns:
    ///     Key, value and, of one that is new, last activity of each; what the running digest and
    ///     the size of all change by.
    fn save<'py>(&mut self, py: Python<'py>, keys: Vec<String>) -> PyResult<(Bound<'py, PyList>, u128, i64)> {
        let entries = PyList::empty(py);
        let (mut digest, mut size) = (0_u128, 0_i64);
        for key in keys {
            let live = self.live.get_mut(&*key).ok_or_else(|| PyKeyError::new_err(key.clone()))?;
            let Some(entity) = live.entity.as_mut() else {
                return Err(PyKeyError::new_err(key));
            };
            (live.touched, live.told) = (false, false);
            let value = entity.write();
            let after = identity::entity_digest(key.as_bytes(), &value);
            let mut born = None;
            match self.stored.get(&*key) {
                None => born = Some(entity.active),
                Some(before) => {
                    let known = before.digest;
                    let known =
                        known.unwrap_or_else(|| identity::entity_digest(key.as_bytes(), &before.value));
                    digest = digest.wrapping_sub(known);
                    size -= before.value.len() as i64;
                }
            }
            digest = digest.wrapping_add(after);
            size += value.len() as i64;
            let entry = (PyBytes::new(py, key.as_bytes()), PyBytes::new(py, &value), born);
            entries.append(entry)?;
            let stored = Stored { value: value.into(), digest: Some(after) };
            self.stored.insert(key, stored);
        }
        Ok((entries, digest, size))
    }
}

impl Store {
    fn judge_one(&mut self, setting: &Setting, body: &Body, record: &Record) -> Plainly<(String, Outcome)> {
        let policy = setting.policy;
        let (platform, tenant) = judge::speaker(policy, record.topic, body)?;
        let key = judge::key_of(platform, tenant, body)?;
        if self.lent.contains(&*key) {
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

    /// Put what came of a claim into the run.
    #[allow(clippy::too_many_arguments)]
    fn tell(
        &mut self,
        py: Python<'_>,
        writing: &Writing,
        run: &mut Run<'_>,
        key: &str,
        body: &Body,
        record: &Record,
        topic: u16,
        outcome: Outcome,
    ) -> PyResult<()> {
        judge::row(&mut run.rows, run.inputs[usize::from(topic)], record, key, body, &outcome);
        run.verdicts.append((
            PyString::intern(py, outcome.disposition),
            PyString::intern(py, outcome.reason),
            record.received,
        ))?;
        if !outcome.touched {
            return Ok(());
        }
        let live = self.live.get_mut(key).expect("it was just judged");
        if !std::mem::replace(&mut live.touched, true) {
            run.touched.append(key)?;
        }
        let entity = live.entity.as_ref().expect("it is plain");
        if let Some(value) = &outcome.approved {
            if !std::mem::replace(&mut live.told, true) {
                run.told.append(key)?;
            }
            let name = (outcome.event_type.clone(), entity.tenant.clone());
            let headers = match self.headers.get(&name) {
                Some(known) => known.clone_ref(py),
                None => {
                    let given = ("ASSERT", "AUTHORITATIVE", &*name.0, &*name.1);
                    let made = writing.headers.call1(py, given)?;
                    self.headers.insert(name, made.clone_ref(py));
                    made
                }
            };
            let (name, key) = (&writing.approved, PyBytes::new(py, key.as_bytes()));
            let fields = (name, self.partition, key, PyBytes::new(py, value), headers);
            run.approved.append(writing.output.call1(py, (fields,))?)?;
            run.received.append(record.received)?;
        }
        for (target, value) in &outcome.links {
            let there = identity::partition_of(target.as_bytes(), writing.partitions);
            let (name, target) = (&writing.links, PyBytes::new(py, target.as_bytes()));
            let link = (name, there, target, PyBytes::new(py, value), py.None());
            run.links.append(writing.output.call1(py, (link,))?)?;
        }
        for row in &outcome.transitions {
            let told = (
                row.seq,
                record.seq,
                &*row.before,
                row.after,
                row.reason,
                &*row.rule,
                key,
                &*row.event_type,
                &*row.milestone,
                0,
                &*row.platform,
                &*row.claim,
            );
            run.transitions.append(writing.transition.call1(py, told)?)?;
        }
        if outcome.deadline.is_some() || entity.deadline.is_some() || !outcome.transitions.is_empty() {
            run.deadlines.append((key, entity.next_deadline()))?;
        }
        Ok(())
    }
}

/// What a run has brought so far.
struct Run<'py> {
    /// Index of each topic's range in the block.
    inputs: Vec<i64>,
    rows: Vec<u8>,
    verdicts: Bound<'py, PyList>,
    approved: Bound<'py, PyList>,
    received: Bound<'py, PyList>,
    links: Bound<'py, PyList>,
    transitions: Bound<'py, PyList>,
    touched: Bound<'py, PyList>,
    told: Bound<'py, PyList>,
    deadlines: Bound<'py, PyList>,
}

impl<'py> Run<'py> {
    fn new(py: Python<'py>, batch: &Batch, inputs: &Bound<'py, PyDict>) -> PyResult<Self> {
        let mut places = Vec::with_capacity(batch.topics.len());
        for topic in &batch.topics {
            places.push(inputs.get_item(topic)?.map_or(Ok(-1), |at| at.extract())?);
        }
        let list = || PyList::empty(py);
        Ok(Run {
            inputs: places,
            rows: Vec::with_capacity(1 << 14),
            verdicts: list(),
            approved: list(),
            received: list(),
            links: list(),
            transitions: list(),
            touched: list(),
            told: list(),
            deadlines: list(),
        })
    }

    fn finish(self, py: Python<'py>, at: usize) -> PyResult<Judged> {
        Ok(Judged {
            at,
            rows: PyBytes::new(py, &self.rows).unbind(),
            verdicts: self.verdicts.unbind(),
            approved: self.approved.unbind(),
            received: self.received.unbind(),
            links: self.links.unbind(),
            transitions: self.transitions.unbind(),
            touched: self.touched.unbind(),
            told: self.told.unbind(),
            deadlines: self.deadlines.unbind(),
        })
    }
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
