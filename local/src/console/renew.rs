//! A recorded delivery made new: for another order, at another time, signed for a store of this run.

use super::{
    cases::{Recording, Sender},
    freshen,
};

/// A delivery ready to be posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where to: `/stores/shop`, `/bookings/clinic`, `/leads/contact`, that with its secret if it has one there.
    pub path: String,
    /// Headers, signature included.
    pub headers: Vec<(String, String)>,
    /// Raw body.
    pub body: String,
}

/// Where a kind of sample goes.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) store: String,
    pub(super) secret: String,
    /// Shop domain, source or header name, as the kind of store has it.
    pub(super) detail: String,
}

/// What the customer knows an order by.
pub(super) fn shown_number(sender: Sender, order: i64) -> String {
    match sender {
        Sender::Shopify => format!("#{}", shopify_number(order)),
        Sender::WooCommerce | Sender::Signed | Sender::StaticHeader => short(order).to_string(),
    }
}

/// Order number of a Shopify sample.
pub(super) fn shopify_number(order: i64) -> i64 {
    1000 + order % 9000
}

/// Ids of the other senders are shorter.
fn short(order: i64) -> i64 {
    order % 1_000_000_000
}

/// Id of the fulfilment order of a Shopify order, so that one can be had from the other without keeping a list.
fn fulfillment_order(order: i64) -> String {
    format!("{order}1")
}

/// The order that a fulfilment order's id stands for.
pub(super) fn order_of_fulfillment_order(id: &str) -> Option<i64> {
    id.strip_suffix('1')?.parse().ok().filter(|order| *order > 1_000_000_000_000)
}

fn triggered_at(at_ms: i64) -> anyhow::Result<String> {
    let at = jiff::Timestamp::from_millisecond(at_ms)?;
    Ok(at.strftime("%FT%T%.3fZ").to_string())
}

pub(super) fn random_hex(digits: usize) -> String {
    use rand::Rng;
    let mut rng = rand::rng();
    (0..digits).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect()
}

fn uuid() -> String {
    let hex = random_hex(30);
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

impl Delivery {
    /// Name of the store, calendar or form that it is from.
    pub fn sender(&self) -> &str {
        self.path.split('/').nth(2).unwrap_or_default()
    }

    /// A header's value; names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => value.clone_into(old),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Sets the three headers of Standard Webhooks.
    pub(super) fn sign_by_standard_webhooks(&mut self, secret: &str, id: &str, at_ms: i64) -> anyhow::Result<()> {
        let seconds = at_ms.div_euclid(1000);
        let signature = freshen::standard_webhooks(secret, id, seconds, self.body.as_bytes())?;
        self.set("webhook-id", id);
        self.set("webhook-timestamp", &seconds.to_string());
        self.set("webhook-signature", &signature);
        Ok(())
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }
}

/// `Name: value` lines.
pub(super) fn headers_of(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect()
}

impl Recording {
    /// The same delivery for another order at another time, signed for `target`.
    pub(super) fn renew(
        &self,
        target: &Target,
        order: i64,
        at_ms: i64,
        delivery_id: Option<String>,
    ) -> anyhow::Result<Delivery> {
        let seconds = at_ms.div_euclid(1000);
        let mut body = match self.occurred_at {
            Some(then) => freshen::move_times(self.body, seconds - freshen::seconds_of(then)?),
            None => self.body.to_owned(),
        };
        let order_id = match self.sender {
            Sender::Shopify if self.number.is_none() => fulfillment_order(order),
            Sender::Shopify => order.to_string(),
            Sender::WooCommerce | Sender::Signed | Sender::StaticHeader => short(order).to_string(),
        };
        body = body.replace(self.order_id, &order_id);
        if let Some(number) = self.number {
            body = body.replace(number, &shopify_number(order).to_string());
        }
        for (index, id) in self.inner_ids.iter().enumerate() {
            let fresh = match self.sender {
                // Shopify's ids are numbers.
                Sender::Shopify => (at_ms + i64::try_from(index)?).to_string(),
                Sender::WooCommerce | Sender::Signed | Sender::StaticHeader => random_hex(id.len()),
            };
            body = body.replace(id, &fresh);
        }
        let mut delivery =
            Delivery { path: format!("/stores/{}", target.store), headers: headers_of(self.headers), body };
        self.sign(&mut delivery, target, at_ms, delivery_id)?;
        Ok(delivery)
    }

    fn sign(
        &self,
        delivery: &mut Delivery,
        target: &Target,
        at_ms: i64,
        delivery_id: Option<String>,
    ) -> anyhow::Result<()> {
        let body = delivery.body.clone();
        let plain = || freshen::hmac_base64(target.secret.as_bytes(), body.as_bytes());
        match self.sender {
            Sender::Shopify => {
                delivery.set("x-shopify-shop-domain", &target.detail);
                delivery.set("x-shopify-webhook-id", &delivery_id.unwrap_or_else(uuid));
                delivery.set("x-shopify-event-id", &uuid());
                delivery.set("x-shopify-triggered-at", &triggered_at(at_ms)?);
                delivery.set("x-shopify-hmac-sha256", &plain());
            }
            Sender::WooCommerce => {
                delivery.set("x-wc-webhook-source", &target.detail);
                delivery.set("x-wc-webhook-delivery-id", &delivery_id.unwrap_or_else(|| random_hex(32)));
                delivery.set("x-wc-webhook-signature", &plain());
            }
            Sender::Signed => {
                let id = delivery_id.unwrap_or_else(|| format!("msg_{}", random_hex(27)));
                delivery.sign_by_standard_webhooks(&target.secret, &id, at_ms)?;
            }
            Sender::StaticHeader => {
                delivery.remove("x-webhook-token");
                delivery.set(&target.detail, &target.secret);
            }
        }
        Ok(())
    }
}
