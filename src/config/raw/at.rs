//! Values that remember where they stand.
//!
//! `shape` hands every value over together with the name of its place, so that `lower` can point at it.

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::config::document::NodeId;

/// A value and its place.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::config) struct At<T>(u32, T);

/// A key that may be left out.
pub(in crate::config) type Opt<T> = Option<At<T>>;

impl<T> At<T> {
    /// A value that is written otherwise at that place, as a short form.
    pub fn new(at: NodeId, value: T) -> At<T> {
        At(at.0, value)
    }

    /// The place.
    pub fn id(&self) -> NodeId {
        NodeId(self.0)
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.1
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A map from names chosen by the operator, in the order of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound = "T: serde::de::DeserializeOwned")]
pub(in crate::config) struct Named<T>(pub Vec<(At<String>, At<T>)>);

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<At<T>>),
}

impl<T> At<OneOrMany<T>> {
    /// Every value with its place.
    pub fn items(&self) -> Vec<(NodeId, &T)> {
        match &self.1 {
            OneOrMany::One(value) => vec![(self.id(), value)],
            OneOrMany::Many(values) => values.iter().map(|value| (value.id(), &**value)).collect(),
        }
    }
}
