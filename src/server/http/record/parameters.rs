//! What may be asked of the record, described once for events and notices.

use tenure_core::{EpochPosition, SubjectId, Timestamp};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Required, Schema,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

/// The parameters of a page, and of a stream.
pub(super) enum RecordParameters {}

impl IntoParams for RecordParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let (text, number) = (String::schema, u32::schema);
        let query = |name, schema, meaning| parameter(ParameterIn::Query, name, schema, meaning);
        vec![
            query(
                "after",
                text(),
                "Only what follows this position; for a stream also `latest`: only new items.",
            ),
            query(
                "since",
                named::<Timestamp>(),
                "Instead of `after`: only what was recorded at this time or later.",
            ),
            query("kinds", text(), "Only these kinds, separated by commas."),
            query("subjectId", named::<SubjectId>(), "Only those of this subject."),
            query("sessionId", text(), "Only those about this session; none if it is not a UUID."),
            query("limit", number(), "1 to 200, by default 50. Not for a stream."),
            query("cursor", text(), "The `nextCursor` of the page before. Not for a stream."),
            query("minPosition", named::<EpochPosition>(), "Wait until the answer reflects this position."),
            parameter(
                ParameterIn::Header,
                "Last-Event-ID",
                text(),
                "For a stream: the `id` of the last item received; it takes precedence over `after`.",
            ),
        ]
    }
}

fn parameter(place: ParameterIn, name: &str, schema: RefOr<Schema>, meaning: &str) -> Parameter {
    let parameter = ParameterBuilder::new().parameter_in(place).name(name).required(Required::False);
    parameter.description(Some(meaning)).schema(Some(schema)).build()
}

fn named<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}
