//! One value of a statistics field, and how each output form writes it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// The field does not apply to this object: nothing between two commas, left out of typed and JSON output.
    Empty,
    /// `u32`
    U32(u32),
    /// `u64`
    U64(u64),
    /// `s32`
    S32(i32),
    /// `flt`, with six digits behind the point (`show info float`).
    Float(f64),
    /// `str`
    Str(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// A borrowed or owned text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Value<'a> {
        Value::Str(text.into())
    }

    /// `Empty` when there is nothing.
    pub fn or_empty(value: Option<Value<'a>>) -> Value<'a> {
        value.unwrap_or(Value::Empty)
    }

    /// The type's name in typed and JSON output; `None` for an empty value.
    pub fn type_name(&self) -> Option<&'static str> {
        match self {
            Value::Empty => None,
            Value::U32(_) => Some("u32"),
            Value::U64(_) => Some("u64"),
            Value::S32(_) => Some("s32"),
            Value::Float(_) => Some("flt"),
            Value::Str(_) => Some("str"),
        }
    }

    /// As it stands, without quotes. Control characters become blanks so that a reply keeps its lines.
    pub fn write_plain(&self, out: &mut String) {
        let result = match self {
            Value::Empty => Ok(()),
            Value::U32(n) => write!(out, "{n}"),
            Value::U64(n) => write!(out, "{n}"),
            Value::S32(n) => write!(out, "{n}"),
            Value::Float(n) => write!(out, "{n:.6}"),
            Value::Str(text) => {
                out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
                Ok(())
            }
        };
        result.expect("writing to a String cannot fail");
    }

    /// As one CSV field: quoted with doubled quotes when it holds a comma or a quote (RFC 4180).
    pub fn write_csv(&self, out: &mut String) {
        match self {
            Value::Str(text) if text.contains([',', '"']) => {
                out.push('"');
                for c in text.chars() {
                    match c {
                        '"' => out.push_str("\"\""),
                        c if c.is_control() => out.push(' '),
                        c => out.push(c),
                    }
                }
                out.push('"');
            }
            other => other.write_plain(out),
        }
    }

    /// As a JSON value.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Value::Empty => out.push_str("null"),
            Value::Str(text) => write_json_string(text, out),
            other => other.write_plain(out),
        }
    }
}

/// A JSON string with its quotes (RFC 8259 section 7).
pub fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                write!(out, "\\u{:04x}", c as u32).expect("writing to a String cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value<'_>, csv: &str, json: &str) {
        let (mut a, mut b) = (String::new(), String::new());
        value.write_csv(&mut a);
        value.write_json(&mut b);
        assert_eq!((a.as_str(), b.as_str()), (csv, json), "{value:?}");
    }

    #[test]
    fn every_form() {
        check(Value::Empty, "", "null");
        check(Value::U32(7), "7", "7");
        check(Value::U64(u64::MAX), "18446744073709551615", "18446744073709551615");
        check(Value::S32(-1), "-1", "-1");
        check(Value::Float(3.5), "3.500000", "3.500000");
        check(Value::text("UP 1/3"), "UP 1/3", "\"UP 1/3\"");
        check(Value::text("a,b"), "\"a,b\"", "\"a,b\"");
        check(Value::text("say \"no\""), "\"say \"\"no\"\"\"", "\"say \\\"no\\\"\"");
        check(Value::text("two\nlines"), "two lines", "\"two\\nlines\"");
        check(Value::text("a,\r\nb"), "\"a,  b\"", "\"a,\\r\\nb\"");
        check(Value::text("\u{1}\\"), " \\", "\"\\u0001\\\\\"");
    }
}
