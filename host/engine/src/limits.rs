//! What a call may use up.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// The bounds of one call. The defaults fit every ordinary component, interpreters included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its linear memories and tables together.
    pub memory: usize,
    /// How long it may run. Time spent in the host's functions counts, but ends only after the function has.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 64 << 20, deadline: Duration::from_secs(5) }
    }
}

/// Elements of all tables together: an interpreter has some 8000 functions in its table.
const TABLE_ELEMENTS: usize = 32 << 10;

/// The call asked for more than its limit.
#[derive(Debug, thiserror::Error)]
#[error("{what} limit of {limit}{unit}")]
pub(crate) struct Exceeded {
    pub(crate) what: &'static str,
    pub(crate) limit: usize,
    pub(crate) unit: &'static str,
}

/// Counts what a store uses, over all its memories and tables.
#[derive(Debug)]
pub(crate) struct Meter {
    memory: usize,
    used: usize,
    elements: usize,
}

impl Meter {
    pub(crate) fn new(memory: usize) -> Self {
        Self { memory, used: 0, elements: 0 }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.memory {
            return Err(wasmtime::Error::new(Exceeded { what: "memory", limit: self.memory >> 20, unit: " MiB" }));
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        if elements > TABLE_ELEMENTS {
            return Err(wasmtime::Error::new(Exceeded { what: "table", limit: TABLE_ELEMENTS, unit: " elements" }));
        }
        self.elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}
