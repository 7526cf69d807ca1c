//! Sealed values inside JSON, opened for whoever may read them.

use std::collections::HashMap;

use events::{EventId, Sealed, TenantId};
use serde_json::Value;

use crate::App;
use crate::problem::Problem;

/// `data` with every sealed value replaced by its plain text, or by `null` when its key is gone.
pub(crate) async fn opened(
    app: &App,
    tenant_id: TenantId,
    event_id: EventId,
    mut data: Value,
) -> Result<Value, Problem> {
    let mut sealed = Vec::new();
    collect(&data, &mut sealed);
    let mut plain = HashMap::with_capacity(sealed.len());
    for sealed in sealed {
        let text = app.keyring.open(tenant_id, event_id, &sealed).await?;
        plain.insert(sealed.ciphertext, text.map_or(Value::Null, Value::String));
    }
    replace(&mut data, &plain);
    Ok(data)
}

fn collect(value: &Value, found: &mut Vec<Sealed>) {
    if let Some(sealed) = sealed_of(value) {
        found.push(sealed);
        return;
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(object) => object.values().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn replace(value: &mut Value, plain: &HashMap<String, Value>) {
    if let Some(sealed) = sealed_of(value) {
        *value = plain.get(&sealed.ciphertext).cloned().unwrap_or_default();
        return;
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, plain)),
        Value::Object(object) => object.values_mut().for_each(|value| replace(value, plain)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A sealed value is an object of exactly its two members.
fn sealed_of(value: &Value) -> Option<Sealed> {
    let object = value.as_object().filter(|object| object.len() == 2)?;
    let key_id = object.get("key_id")?.as_str()?.parse().ok()?;
    Some(Sealed { key_id, ciphertext: object.get("ciphertext")?.as_str()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sealed_values_are_found_and_replaced_wherever_they_stand() {
        let id = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";
        let mut data = json!({
            "content": {"key_id": id, "ciphertext": "aaa"},
            "list": [{"said": {"key_id": id, "ciphertext": "bbb"}}],
            "not": {"key_id": id, "ciphertext": "ccc", "more": 1},
        });
        let mut found = Vec::new();
        collect(&data, &mut found);
        assert_eq!(found.iter().map(|sealed| sealed.ciphertext.as_str()).collect::<Vec<_>>(), ["aaa", "bbb"]);
        replace(&mut data, &HashMap::from([("aaa".to_owned(), json!("hello"))]));
        assert_eq!(data["content"], "hello");
        assert_eq!(data["list"][0]["said"], Value::Null);
        assert_eq!(data["not"]["ciphertext"], "ccc");
    }
}
