//! The sample that leads to a client's first message: an order, else a lead, else an appointment.

use std::sync::Mutex;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tellonce_console::{
    bookings::{BookingAction, BookingSampleContext, BookingSampleFactory},
    leads::{LeadAction, LeadSampleContext, LeadSampleFactory, can_post_leads},
    samples::{ConsoleSample, DeliveryBatch, OrderSampleFactory, SampleTargets},
};
use tellonce_core::{
    client_config::{CalendarKind, ClientConfig, CustomScheme, CustomStore, ReminderStage, StoreKind},
    contact::{Phone, PhoneRule},
};
use tellonce_samples::{WebhookPost, put_at_pointer};
use tellonce_stack::LocalStack;

/// Samples of a ready order, one per kind of store. The first one with a configured store is sent.
const READY_SAMPLES: [ConsoleSample; 4] =
    [ConsoleSample::ShopifyReady, ConsoleSample::WooReady, ConsoleSample::ErpReady, ConsoleSample::ZapReady];
/// How long after the booking the reminder is due. One that is due at the booking is skipped.
const REMINDER_DELAY: SignedDuration = SignedDuration::from_secs(20);
/// Mobile numbers without a country code, of ranges for fiction or without subscribers.
const SAMPLE_NUMBERS: [&str; 8] = [
    "0545550199",
    "2025550123",
    "07700900123",
    "0151 23456789",
    "0612345678",
    "612345678",
    "3123456789",
    "11961234567",
];

/// A sample, and what leads from it to the message.
pub(crate) struct FirstMessage {
    pub(crate) batch: DeliveryBatch,
    /// Whether the sample is an event of a feed, which posts nothing.
    pub(crate) is_in_feed: bool,
    /// What happens next, if the message does not follow at once.
    pub(crate) hint: String,
}

/// Makes samples, and remembers the last delivery.
#[derive(Default)]
pub(crate) struct SampleFactory {
    orders: OrderSampleFactory,
    leads: LeadSampleFactory,
    bookings: BookingSampleFactory,
    last: Mutex<Option<DeliveryBatch>>,
}

impl SampleFactory {
    /// The next sample for the client as the functions have it now.
    pub(crate) fn build(&self, stack: &LocalStack) -> anyhow::Result<FirstMessage> {
        let config = stack.loaded_client().config.clone().context("no function can load client.toml")?;
        let now = Timestamp::from_millisecond(stack.clock().now_ms())?;
        let first = match self.build_order(stack, &config, now)? {
            Some(order) => order,
            None => match self.build_lead(stack, &config, now)? {
                Some(lead) => lead,
                None => self.build_booking(stack, &config, now)?,
            },
        };
        *tellonce_fakes::lock_mutex(&self.last) =
            Some(first.batch.clone()).filter(|batch| !batch.deliveries.is_empty());
        Ok(first)
    }

    /// The last delivery of the last sample.
    pub(crate) fn last_delivery(&self) -> Option<DeliveryBatch> {
        let mut last = tellonce_fakes::lock_mutex(&self.last).clone()?;
        last.deliveries.drain(..last.deliveries.len() - 1);
        last.about = format!("{}, the same delivery again", last.about);
        Some(last)
    }

    fn build_order(
        &self,
        stack: &LocalStack,
        config: &ClientConfig,
        now: Timestamp,
    ) -> anyhow::Result<Option<FirstMessage>> {
        let targets = SampleTargets::from_config(config, |name| stack.secrets().current_value(name));
        let Some(case) = READY_SAMPLES.into_iter().find(|case| targets.has_store_for(*case)) else { return Ok(None) };
        let mut batch = self.orders.build_batch(case, &targets, false, now.as_millisecond())?;
        for delivery in &mut batch.deliveries {
            set_phone(delivery, config)?;
        }
        Ok(Some(FirstMessage { batch, is_in_feed: false, hint: String::new() }))
    }

    fn build_lead(
        &self,
        stack: &LocalStack,
        config: &ClientConfig,
        now: Timestamp,
    ) -> anyhow::Result<Option<FirstMessage>> {
        let has_secret = |name: &str| stack.secrets().current_value(name).is_some();
        let form = config.forms.iter().find(|(name, form)| can_post_leads(config, name, form, has_secret));
        let Some((name, form)) = form else { return Ok(None) };
        let secret = |name: &str| stack.secrets().current_value(name);
        let context = LeadSampleContext { config, secret: &secret, leads: stack.leads() };
        let country = form.countries.first().or(form.country.as_ref()).unwrap_or(&config.country);
        let phone = sample_phone(country)?;
        let batch = self.leads.apply_action(&context, name, LeadAction::Submit, &phone, now)?;
        Ok(Some(FirstMessage { batch, is_in_feed: false, hint: String::new() }))
    }

    fn build_booking(&self, stack: &LocalStack, config: &ClientConfig, now: Timestamp) -> anyhow::Result<FirstMessage> {
        let secret = |name: &str| stack.secrets().current_value(name);
        let context = BookingSampleContext { config, secret: &secret, calendars: stack.calendars() };
        let calendar = config.calendars.iter().find_map(|(name, calendar)| {
            let spans = calendar.reminders.keys().filter(|stage| stage.time_of_day().is_none());
            Some((name, calendar, spans.map(ReminderStage::lead_time).min()?))
        });
        let Some((name, calendar, lead_time)) = calendar else {
            bail!("this client has no store, form or calendar with a known secret for a sample")
        };
        let start = Timestamp::from_second((now + lead_time + REMINDER_DELAY).as_second())?;
        let batch = self.bookings.apply_action(&context, name, BookingAction::Book, start, now)?;
        let hint = format!(
            "The reminder is due in {} seconds, and the schedule of the next minute sends it; r runs the schedule at once",
            REMINDER_DELAY.as_secs()
        );
        Ok(FirstMessage { batch, is_in_feed: matches!(calendar.kind, CalendarKind::Ics(_)), hint })
    }
}

/// Gives the order of a custom store a number of the store's country. The recording has a number
/// without a country code. Only a store that signs nothing accepts another body.
fn set_phone(delivery: &mut WebhookPost, config: &ClientConfig) -> anyhow::Result<()> {
    let Some(store) = config.stores.get(delivery.sender_name()) else { return Ok(()) };
    let StoreKind::Custom(CustomStore { verify: CustomScheme::StaticHeader { .. }, fields, .. }) = &store.kind else {
        return Ok(());
    };
    let phone = sample_phone(store.country.as_ref().unwrap_or(&config.country))?;
    let mut order: Value = serde_json::from_slice(&delivery.body)?;
    put_at_pointer(&mut order, fields.phone.as_str(), Value::String(phone));
    delivery.body = serde_json::to_vec(&order)?;
    Ok(())
}

/// A mobile number of a country.
fn sample_phone(country: &str) -> anyhow::Result<String> {
    let parse = |number: &&str| Phone::parse(number, country, PhoneRule::Possible).ok();
    let phone = SAMPLE_NUMBERS.iter().filter_map(parse).find(|phone| phone.is_of_country(country));
    let phone = phone.with_context(|| {
        format!("no sample number is of `{country}`; submit the form in the console with a number of yours")
    })?;
    Ok(phone.expose().to_owned())
}
