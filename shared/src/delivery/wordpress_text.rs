//! The plain form of a secret that `WordPress` stores.

use std::borrow::Cow;

/// Decodes the entities of `&`, `<`, `>`, `"` and `'` in one pass, and no others, as `WordPress`
/// does: names in lower case, decimal numbers, and for `&`, `"` and `'` hexadecimal numbers.
/// `&apos;` is not among them.
///
/// Source: `wp_specialchars_decode` with `ENT_QUOTES`, WordPress `wp-includes/formatting.php`.
pub(super) fn decode_wordpress_text(text: &str) -> Cow<'_, str> {
    const NAMES: [(&str, char); 4] = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"')];
    let decode = |entity: &str| {
        let Some(number) = entity.strip_prefix('#') else {
            return NAMES.iter().find(|(name, _)| *name == entity).map(|(_, sign)| *sign);
        };
        match number.strip_prefix(['x', 'X']) {
            Some(hex) => match hex.trim_start_matches('0') {
                "26" => Some('&'),
                "22" => Some('"'),
                "27" => Some('\''),
                _ => None,
            },
            None => match number.trim_start_matches('0') {
                "38" => Some('&'),
                "60" => Some('<'),
                "62" => Some('>'),
                "34" => Some('"'),
                "39" => Some('\''),
                _ => None,
            },
        }
    };
    if !text.contains('&') {
        return text.into();
    }
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest[1..].split_once(';').map(|(entity, _)| entity);
        match entity.and_then(|entity| Some((entity.len() + 2, decode(entity)?))) {
            Some((length, sign)) => {
                decoded.push(sign);
                rest = &rest[length..];
            }
            None => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    (decoded + rest).into()
}
