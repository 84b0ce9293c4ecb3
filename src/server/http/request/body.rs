//! Bodies of requests: each is one of the types of the wire, read field by field, so that a refusal names every fault
//! and not only the first.

use super::{call::ApiCall, fields::RequestFields};
use crate::http::reply::problem::{Problem, ProblemCode};

/// A body that is read from its fields.
pub(crate) trait RequestBody: Sized {
    /// Takes the fields that the type has. `None` goes with a fault: something that it must have is missing or wrong.
    fn read(fields: &mut RequestFields) -> Option<Self>;
}

impl ApiCall {
    /// The body, if nothing is wrong with it and nothing in it is unknown.
    pub(crate) fn read<B: RequestBody>(&self) -> Result<B, Problem> {
        let mut fields = self.fields()?;
        let body = B::read(&mut fields);
        fields.finish()?;
        body.ok_or_else(|| ProblemCode::InvalidRequest.into())
    }
}
