//! The address resource, which orders and fulfilments contain.

use serde::Deserialize;
use tellonce_core::{contact::build_full_name, json::RawJson};

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct ShopifyAddress<'a> {
    #[serde(borrow)]
    first_name: RawJson<'a>,
    last_name: RawJson<'a>,
    name: RawJson<'a>,
    pub(super) phone: RawJson<'a>,
    pub(super) country_code: RawJson<'a>,
}

impl ShopifyAddress<'_> {
    pub(super) fn person_name(&self) -> Option<String> {
        build_full_name(self.first_name, self.last_name).or_else(|| self.name.owned_text())
    }
}
