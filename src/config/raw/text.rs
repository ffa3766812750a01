//! Text with a meaning. The type only names it, for the schema and the reader; `lower` parses it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

macro_rules! text {
    ($($(#[doc = $doc:literal])* $name:ident = $format:literal, $example:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Deserialize)]
        pub(in crate::config) struct $name(pub String);

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "examples": [$example] })
            }
        }
    )*};
}

text! {
    /// `5s`
    Duration = "duration", "5s";
    /// `64KiB`
    Size = "size", "64KiB";
    /// `100/s`
    Rate = "rate", "100/s";
    /// A file or folder.
    FilePath = "path", "/etc/lockgate/page.html";
    /// `10.0.0.1:80`, `[::1]:80`, `name:80`, `unix:/path`
    Address = "address", "10.0.0.1:80";
    /// `10.0.0.1`
    Ip = "ip", "10.0.0.1";
    /// `10.0.0.0/8`
    Network = "network", "10.0.0.0/8";
    /// Text with `%[name]` lookups.
    Template = "template", "%[client_ip]";
    /// A regular expression.
    Pattern = "regex", "^/v[0-9]+/";
    /// A name of a header field.
    FieldName = "field name", "X-Name";
    /// A host to match.
    Host = "host", "*.example.com";
    /// A path to match.
    PathMatch = "path match", "/api/";
    /// Free text.
    Text = "text", "text";
    /// The name of a backend.
    BackendName = "backend name", "web";
    /// Status codes.
    Statuses = "status codes", "200-299";
    /// Where log lines go.
    LogTargetUrl = "log target", "udp://127.0.0.1:514";
    /// The name of a log format, or a format string.
    LogFormat = "log format", "%ci:%cp [%tr] %ft %b/%s %ST %B %{+Q}r";
    /// A balancing algorithm.
    Algorithm = "algorithm", "leastconn";
    /// A part of a rate limit's key.
    KeyPart = "key part", "client_ip";
}
