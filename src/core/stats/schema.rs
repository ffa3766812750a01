//! `show schema json`: what the JSON forms of `show info` and `show stat` look like (JSON Schema, draft 4).

use super::value::write_json_string;

/// The reply to `show schema json`, on one line.
pub fn render() -> String {
    let words = |list: &[&str]| {
        let mut out = String::from("[");
        for (n, word) in list.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            write_json_string(word, &mut out);
        }
        out.push(']');
        out
    };
    let object = |properties: &str, required: &[&str]| {
        format!("{{\"type\":\"object\",\"properties\":{{{properties}}},\"required\":{}}}", words(required))
    };
    let common = "\"field\":{\"$ref\":\"#/definitions/field\"},\"processNum\":{\"type\":\"integer\",\"minimum\":1},\
                  \"tags\":{\"$ref\":\"#/definitions/tags\"},\"value\":{\"$ref\":\"#/definitions/value\"}";
    let object_types = words(&["Frontend", "Backend", "Server", "Listener"]);
    let stat = object(
        &format!(
            "\"objType\":{{\"enum\":{object_types}}},\"proxyId\":{{\"type\":\"integer\",\"minimum\":0}},\
             \"id\":{{\"type\":\"integer\",\"minimum\":0}},{common}"
        ),
        &["objType", "proxyId", "id", "field", "processNum", "tags", "value"],
    );
    let info = object(common, &["field", "processNum", "tags", "value"]);
    let field = object("\"pos\":{\"type\":\"integer\",\"minimum\":0},\"name\":{\"type\":\"string\"}", &["pos", "name"]);
    let tags = object(
        &format!(
            "\"origin\":{{\"enum\":{}}},\"nature\":{{\"enum\":{}}},\"scope\":{{\"enum\":{}}}",
            words(&["Metric", "Status", "Key", "Config", "Product", "Unknown"]),
            words(&[
                "Gauge", "Limit", "Min", "Max", "Rate", "Counter", "Duration", "Age", "Time", "Name", "Output", "Avg",
                "Unknown"
            ]),
            words(&["Cluster", "Process", "Service", "System", "Unknown"]),
        ),
        &["origin", "nature", "scope"],
    );
    let value = object(
        &format!(
            "\"type\":{{\"enum\":{}}},\"value\":{{\"type\":{}}}",
            words(&["s32", "s64", "u32", "u64", "str", "flt"]),
            words(&["number", "string"])
        ),
        &["type", "value"],
    );
    format!(
        "{{\"$schema\":\"http://json-schema.org/draft-04/schema#\",\"oneOf\":[\
         {{\"title\":\"Info\",\"type\":\"array\",\"items\":{info}}},\
         {{\"title\":\"Stat\",\"type\":\"array\",\"items\":{{\"type\":\"array\",\"items\":{stat}}}}}],\
         \"definitions\":{{\"field\":{field},\"tags\":{tags},\"value\":{value}}}}}\n"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_json_and_resolves_its_references() {
        let text = super::render();
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in ["field", "tags", "value"] {
            assert!(schema["definitions"][name]["properties"].is_object(), "{name}");
        }
        assert_eq!(schema["oneOf"].as_array().unwrap().len(), 2);
        assert_eq!(text.matches('\n').count(), 1);
    }
}
