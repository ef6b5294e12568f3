//! The records of a run, as the lane or a test hands them over.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::raw::Body;

const FRAME_BYTES: usize = 5;
const RECORD_OVERHEAD_BYTES: usize = 16;
/// A row of the ledger besides its ids.
const ROW_BYTES: i64 = 300;
/// Fields of the lane's records: topic, partition, offset, append time, key, value, headers. Others are
/// asked by name.
const FIELDS: usize = 7;

pub struct Taken {
    pub topic: u16,
    pub offset: i64,
    pub received: i64,
    pub key_bytes: usize,
    /// None: not for the plain path.
    pub value: Option<Py<PyBytes>>,
    /// Bytes of its row in the ledger, at most.
    row_bytes: i64,
}

/// Records, looked at once: which of them are raw events that can be read plainly.
#[pyclass(frozen)]
pub struct Batch {
    pub topics: Vec<String>,
    pub records: Vec<Taken>,
}

#[pymethods]
impl Batch {
    /// Look at records.
    ///
    /// Args:
    ///     records: in the order taken.
    ///     bytes_max: records above this size are not plain.
    ///     schemas: topic and id of the schemas that are the committed raw event.
    #[new]
    fn new(records: &Bound<'_, PyList>, bytes_max: usize, schemas: Vec<(String, u32)>) -> PyResult<Self> {
        let schemas: FxHashSet<(String, u32)> = schemas.into_iter().collect();
        let mut batch = Batch { topics: Vec::new(), records: Vec::with_capacity(records.len()) };
        let mut places: FxHashMap<String, u16> = FxHashMap::default();
        let mut allowed: FxHashSet<(u16, u32)> = FxHashSet::default();
        for record in records {
            let fields = Fields::of(&record)?;
            let name: &str = fields.topic.extract()?;
            let topic = match places.get(name) {
                Some(at) => *at,
                None => {
                    let at = batch.topics.len() as u16;
                    let ids = schemas.iter().filter(|(topic, _)| topic == name);
                    allowed.extend(ids.map(|(_, id)| (at, *id)));
                    places.insert(name.to_owned(), at);
                    batch.topics.push(name.to_owned());
                    at
                }
            };
            let mut taken = Taken {
                topic,
                offset: fields.offset.extract()?,
                received: fields.received.extract()?,
                key_bytes: 0,
                value: None,
                row_bytes: -1,
            };
            taken.look(fields, bytes_max, &allowed)?;
            batch.records.push(taken);
        }
        Ok(batch)
    }

    /// Bytes of each record's row in the ledger, at most; -1: it is not plain.
    fn rows(&self) -> Vec<i64> {
        self.records.iter().map(|record| record.row_bytes).collect()
    }

    /// Offsets of some records by topic, in order.
    fn offsets<'py>(&self, py: Python<'py>, first: usize, last: usize) -> PyResult<Bound<'py, PyDict>> {
        let mut found: Vec<Vec<i64>> = vec![Vec::new(); self.topics.len()];
        let mut order: Vec<u16> = Vec::new();
        for record in &self.records[first..last] {
            let offsets = &mut found[usize::from(record.topic)];
            if offsets.is_empty() {
                order.push(record.topic);
            }
            offsets.push(record.offset);
        }
        let told = PyDict::new(py);
        for topic in order {
            let topic = usize::from(topic);
            told.set_item(&self.topics[topic], std::mem::take(&mut found[topic]))?;
        }
        Ok(told)
    }
}

/// What is asked of a record.
struct Fields<'py> {
    topic: Bound<'py, PyAny>,
    offset: Bound<'py, PyAny>,
    received: Bound<'py, PyAny>,
    key: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    headers: Bound<'py, PyAny>,
}

impl<'py> Fields<'py> {
    fn of(record: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(record) = record.cast::<PyTuple>()
            && record.len() == FIELDS
        {
            let at = |place| record.get_item(place);
            let (topic, offset, received) = (at(0)?, at(2)?, at(3)?);
            return Ok(Fields { topic, offset, received, key: at(4)?, value: at(5)?, headers: at(6)? });
        }
        let named = |name| record.getattr(name);
        Ok(Fields {
            topic: named("topic")?,
            offset: named("offset")?,
            received: named("timestamp_ms")?,
            key: named("key")?,
            value: named("value")?,
            headers: named("headers")?,
        })
    }
}

impl Taken {
    fn look(
        &mut self,
        fields: Fields<'_>,
        bytes_max: usize,
        allowed: &FxHashSet<(u16, u32)>,
    ) -> PyResult<()> {
        let Fields { key, value, headers, .. } = fields;
        if !headers.is_none() && headers.len()? > 0 {
            return Ok(());
        }
        let Ok(value) = value.cast_into::<PyBytes>() else {
            return Ok(());
        };
        if !key.is_none() {
            self.key_bytes = key.cast_into::<PyBytes>()?.as_bytes().len();
        }
        let bytes = value.as_bytes();
        let too_large = RECORD_OVERHEAD_BYTES + self.key_bytes + bytes.len() > bytes_max;
        if too_large || bytes.len() < FRAME_BYTES || bytes[0] != 0 {
            return Ok(());
        }
        let id = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        if !allowed.contains(&(self.topic, id)) {
            return Ok(());
        }
        if let Ok(body) = Body::read(bytes) {
            self.row_bytes = ROW_BYTES + at_most(body.event_id) + 3 * at_most(body.entity_id);
            self.value = Some(value.unbind());
        }
        Ok(())
    }
}

fn at_most(text: &str) -> i64 {
    if text.is_ascii() { text.len() as i64 } else { 4 * text.chars().count() as i64 }
}
