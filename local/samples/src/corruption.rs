//! Damages recorded bodies, for tests of what reads them.

use proptest::{prelude::*, sample::Index};
use serde_json::Value;

/// One of the bodies with a few bytes changed, and often truncated.
pub fn corrupted_body(bodies: &'static [Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    (any::<Index>(), edits, prop::option::of(any::<Index>())).prop_map(|(which, edits, end)| {
        let mut body = which.get(bodies).clone();
        for (index, byte) in edits {
            let at = index.index(body.len());
            body[at] = byte;
        }
        if let Some(end) = end {
            body.truncate(end.index(body.len()));
        }
        body
    })
}

/// A JSON body with its `nth` value, counted in document order, replaced. None if the body is not
/// JSON.
///
/// `replacement` is inserted as text, because a sender can send JSON that a [`Value`] does not
/// preserve.
pub fn replace_nth_value(body: &[u8], nth: usize, replacement: &str) -> Option<String> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    replace_value(&mut document, &mut { nth }, &Value::from("@@"));
    Some(document.to_string().replace("\"@@\"", replacement))
}

fn replace_value(value: &mut Value, remaining: &mut usize, replacement: &Value) {
    if *remaining == 0 {
        *value = replacement.clone();
    }
    *remaining = remaining.wrapping_sub(1);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| replace_value(value, remaining, replacement)),
        Value::Object(map) => map.values_mut().for_each(|value| replace_value(value, remaining, replacement)),
        _ => {}
    }
}
