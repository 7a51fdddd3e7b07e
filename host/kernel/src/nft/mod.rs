//! weft's nf_tables objects. Not there yet: operations on them are refused.

use nix::errno::Errno;
use weft_executor::operation::Operation;
use weft_executor::state::{Filter, Scope};
use weft_executor::{Failure, KernelError};

use crate::error::plain;
use crate::system::System;

pub(crate) fn observe(_system: &mut System, _scope: &Scope) -> Result<Filter, KernelError> {
    Ok(Filter::default())
}

pub(crate) fn apply(_system: &mut System, _run: &[Operation]) -> Result<(), Failure> {
    Err(Failure { index: 0, error: plain("change nf_tables", "not supported yet", Errno::EOPNOTSUPP) })
}
