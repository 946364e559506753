//! The plain form of a secret that `WordPress` stores.

use std::borrow::Cow;

/// Decodes the entities of `&`, `<`, `>`, `"` and `'` in one pass, and no others, as `WordPress`
/// does: names in lower case, decimal numbers, and for `&`, `"` and `'` hexadecimal numbers.
/// `&apos;` is not among them.
///
/// Source: `wp_specialchars_decode` with `ENT_QUOTES`, `WordPress` `wp-includes/formatting.php`.
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
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        let entity = after.split_once(';').and_then(|(entity, after)| Some((decode(entity)?, after)));
        let (sign, after) = entity.unwrap_or(('&', after));
        decoded.push(sign);
        rest = after;
    }
    (decoded + rest).into()
}
