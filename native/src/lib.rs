//! The plain path of Milepost's governor: most claims, judged without Python.
//!
//! `pipeline/governance` is the law; this follows it for the claims that most traffic consists of, and
//! hands over every other. Both write the same bytes: `tests/streams/test_plain.py` holds that.

mod avro;
mod batch;
mod conflict;
mod entity;
mod identity;
mod json;
mod judge;
mod kept;
mod placement;
mod policy;
mod publication;
mod raw;
mod records;
mod store;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Running digest of approved records after some more of them.
#[pyfunction]
fn approved_digest<'py>(
    py: Python<'py>,
    before: &[u8],
    values: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut digest = before.to_vec();
    for value in values {
        digest = identity::chained(&digest, value.cast::<PyBytes>()?.as_bytes()).to_vec();
    }
    Ok(PyBytes::new(py, &digest))
}

#[pymodule]
fn milepost_plain(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(approved_digest, module)?)?;
    module.add("WORDS", raw::WORDS)?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<store::Tables>()?;
    module.add_class::<store::Writing>()?;
    module.add_class::<store::Judged>()?;
    module.add_class::<store::Store>()
}
