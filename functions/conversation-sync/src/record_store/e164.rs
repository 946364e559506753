//! Phone numbers as E.164 texts in table rows, for `#[serde(with)]`. [`Phone`] masks itself
//! elsewhere.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
use tellonce_core::contact::Phone;

/// Writes the full number.
pub(crate) fn serialize<S: Serializer>(phone: &Phone, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(phone.expose())
}

/// Reads the full number.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Phone, D::Error> {
    Phone::from_e164(&String::deserialize(deserializer)?).map_err(|_| D::Error::custom("not a phone number"))
}

/// The same for an optional number.
pub(crate) mod option {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use tellonce_core::contact::Phone;

    /// Writes the full number, or null.
    #[expect(clippy::ref_option, reason = "serde's own form")]
    pub(crate) fn serialize<S: Serializer>(phone: &Option<Phone>, serializer: S) -> Result<S::Ok, S::Error> {
        match phone {
            Some(phone) => serializer.serialize_some(phone.expose()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the full number, or null.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Phone>, D::Error> {
        let phone = Option::<String>::deserialize(deserializer)?.map(|phone| Phone::from_e164(&phone));
        phone.transpose().map_err(|_| D::Error::custom("not a phone number"))
    }
}
