//! A recorded delivery for a new order, at a new time, signed for a store of this run.

use tellonce_fakes::shopify;

use super::{
    sample_cases::{SampleRecording, SampleSender},
    sample_rewriting,
};

/// A delivery that is ready to be posted.
#[derive(Clone, PartialEq, Eq)]
pub struct SampleDelivery {
    /// `/stores/shop`, `/bookings/clinic`, `/leads/contact`. Includes the secret of a secret
    /// address.
    pub path: String,
    /// Headers, including the signature.
    pub headers: Vec<(String, String)>,
    /// Raw body.
    pub body: String,
}

/// The target of one kind of sample.
#[derive(Clone)]
pub(super) struct SampleTarget {
    pub(super) store: String,
    pub(super) secret: String,
    /// Shop domain, source or header name, depending on the kind of store.
    pub(super) detail: String,
}

/// The order number that the customer sees.
pub(super) fn order_number_for_customer(sender: SampleSender, order: i64) -> String {
    match sender {
        SampleSender::Shopify => format!("#{}", shopify::order_number(order)),
        SampleSender::WooCommerce | SampleSender::StandardWebhooks | SampleSender::StaticHeader => {
            short_order_id(order).to_string()
        }
    }
}

/// Other senders than Shopify have shorter ids.
fn short_order_id(order: i64) -> i64 {
    order % 1_000_000_000
}

fn format_triggered_at(at_ms: i64) -> anyhow::Result<String> {
    let at = jiff::Timestamp::from_millisecond(at_ms)?;
    Ok(at.strftime("%FT%T%.3fZ").to_string())
}

pub(super) fn random_hex(digits: usize) -> String {
    use rand::Rng;
    let mut rng = rand::rng();
    (0..digits).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect()
}

fn random_uuid() -> String {
    let hex = random_hex(30);
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

impl SampleDelivery {
    /// Name of its store, calendar or form.
    pub fn sender_name(&self) -> &str {
        self.path.split('/').nth(2).unwrap_or_default()
    }

    /// The value of a header. Names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn set_header(&mut self, name: &str, value: &str) {
        match self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => value.clone_into(old),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Sets the three headers of Standard Webhooks.
    pub(super) fn sign_standard_webhooks(&mut self, secret: &str, id: &str, at_ms: i64) -> anyhow::Result<()> {
        let seconds = at_ms.div_euclid(1000);
        let signature = sample_rewriting::sign_standard_webhooks(secret, id, seconds, self.body.as_bytes())?;
        self.set_header("webhook-id", id);
        self.set_header("webhook-timestamp", &seconds.to_string());
        self.set_header("webhook-signature", &signature);
        Ok(())
    }

    fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }
}

/// Parses `Name: value` lines.
pub(super) fn parse_headers(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect()
}

impl SampleRecording {
    /// Rewrites a recording for another order and time, and signs it for `target`.
    pub(super) fn build_delivery(
        &self,
        target: &SampleTarget,
        order: i64,
        at_ms: i64,
        delivery_id: Option<String>,
    ) -> anyhow::Result<SampleDelivery> {
        let seconds = at_ms.div_euclid(1000);
        let mut body = match self.occurred_at {
            Some(then) => sample_rewriting::shift_times(self.body, seconds - sample_rewriting::parse_seconds(then)?),
            None => self.body.to_owned(),
        };
        let order_id = match self.sender {
            SampleSender::Shopify if self.number.is_none() => shopify::fulfillment_order_id(order),
            SampleSender::Shopify => order.to_string(),
            SampleSender::WooCommerce | SampleSender::StandardWebhooks | SampleSender::StaticHeader => {
                short_order_id(order).to_string()
            }
        };
        body = body.replace(self.order_id, &order_id);
        if let Some(number) = self.number {
            body = body.replace(number, &shopify::order_number(order).to_string());
        }
        for (index, id) in self.inner_ids.iter().enumerate() {
            let new_id = match self.sender {
                // Shopify's ids are numbers.
                SampleSender::Shopify => (at_ms + i64::try_from(index)?).to_string(),
                SampleSender::WooCommerce | SampleSender::StandardWebhooks | SampleSender::StaticHeader => {
                    random_hex(id.len())
                }
            };
            body = body.replace(id, &new_id);
        }
        let mut delivery =
            SampleDelivery { path: format!("/stores/{}", target.store), headers: parse_headers(self.headers), body };
        self.sign_delivery(&mut delivery, target, at_ms, delivery_id)?;
        Ok(delivery)
    }

    fn sign_delivery(
        &self,
        delivery: &mut SampleDelivery,
        target: &SampleTarget,
        at_ms: i64,
        delivery_id: Option<String>,
    ) -> anyhow::Result<()> {
        let body = delivery.body.clone();
        let hmac_signature = || sample_rewriting::hmac_base64(target.secret.as_bytes(), body.as_bytes());
        match self.sender {
            SampleSender::Shopify => {
                delivery.set_header("x-shopify-shop-domain", &target.detail);
                delivery.set_header("x-shopify-webhook-id", &delivery_id.unwrap_or_else(random_uuid));
                delivery.set_header("x-shopify-event-id", &random_uuid());
                delivery.set_header("x-shopify-triggered-at", &format_triggered_at(at_ms)?);
                delivery.set_header("x-shopify-hmac-sha256", &hmac_signature());
            }
            SampleSender::WooCommerce => {
                delivery.set_header("x-wc-webhook-source", &target.detail);
                delivery.set_header("x-wc-webhook-delivery-id", &delivery_id.unwrap_or_else(|| random_hex(32)));
                delivery.set_header("x-wc-webhook-signature", &hmac_signature());
            }
            SampleSender::StandardWebhooks => {
                let id = delivery_id.unwrap_or_else(|| format!("msg_{}", random_hex(27)));
                delivery.sign_standard_webhooks(&target.secret, &id, at_ms)?;
            }
            SampleSender::StaticHeader => {
                delivery.remove_header("x-webhook-token");
                delivery.set_header(&target.detail, &target.secret);
            }
        }
        Ok(())
    }
}
