//! Which secrets a client needs, and what to put into them.

use shared::client_config::{
    CalendarKind, ClientConfig, CrmKind, CustomScheme, FormKind, FormScheme, StoreKind, TargetKind,
};

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A line's token.
    Line,
    /// Signs a Standard Webhooks sender's deliveries.
    StandardWebhooks,
    /// Signs, or stands in, another sender's deliveries.
    Webhook,
    /// Stands at the end of an address.
    Path,
    /// Looks orders up in the store. Can be missing.
    StoreApi,
    /// Asks a booking system for what it did not post.
    CalendarApi,
    /// Where a feed is.
    FeedAddress,
    /// Reads the leads that Meta only names.
    LeadApi,
    /// Reads the contacts that `HubSpot` only names. Can be missing: a workflow posts them whole.
    ContactApi,
    /// Writes to a CRM that takes a plain token.
    CrmToken,
    /// Writes to Zoho CRM.
    Zoho,
    /// Writes to Google Sheets.
    ServiceAccount,
    /// Where Slack takes messages.
    SlackAddress,
    /// Where a Teams workflow takes messages.
    TeamsAddress,
}

/// A secret that a client needs.
pub(crate) struct Needed {
    /// Its full name.
    pub(crate) name: String,
    /// What to put into it.
    pub(crate) what: String,
    /// What it is for, and so what may stand in it.
    pub(super) its_use: Use,
}

/// The secrets that a client needs, in the order to create them.
pub(crate) fn needed(config: &ClientConfig) -> Vec<Needed> {
    let lines = config.lines.keys().map(|line| Needed {
        name: config.line_secret(line),
        what: format!("the token of the line `{line}` (ezw_line_…, from EZWhatsApp)"),
        its_use: Use::Line,
    });
    let webhooks = config.stores.iter().map(|(name, store)| {
        let (what, its_use) = match &store.kind {
            StoreKind::Shopify { .. } => {
                ("the client secret of the app that posts (or the secret on Settings > Notifications)", Use::Webhook)
            }
            StoreKind::WooCommerce { .. } => ("the webhooks' secret, the same in each of them", Use::Webhook),
            StoreKind::Custom { verify, .. } => custom(verify),
        };
        Needed { name: config.webhook_secret(name), what: format!("`{name}`: {what}"), its_use }
    });
    let apis = config.stores.iter().filter(|(_, store)| matches!(store.kind, StoreKind::Shopify { .. }));
    let apis = apis.map(|(name, _)| Needed {
        name: config.store_api_secret(name),
        what: format!("`{name}`: a token of its Admin API, to look up pickups and parcels (read_orders, …)"),
        its_use: Use::StoreApi,
    });
    lines
        .chain(webhooks)
        .chain(apis)
        .chain(for_calendars(config))
        .chain(for_forms(config))
        .chain(for_conversations(config))
        .collect()
}

/// For what EZWhatsApp reports of lines, and for whom it is told on.
fn for_conversations(config: &ClientConfig) -> impl Iterator<Item = Needed> {
    let lines = config.lines.iter().filter(|(_, line)| line.events).map(|(name, _)| Needed {
        name: config.line_webhook_secret(name),
        what: format!(
            "`{name}`: a long random value of letters, digits, - and _; the address that EZWhatsApp posts to ends in it: \
             /lines/{name}/…"
        ),
        its_use: Use::Path,
    });
    let crms = config.crms.iter().map(|(name, crm)| {
        let (what, its_use) = match &crm.kind {
            CrmKind::HubSpot { .. } => (
                "a private app's token, to read and write contacts (crm.objects.contacts.read, crm.objects.contacts.write)",
                Use::CrmToken,
            ),
            CrmKind::Pipedrive { .. } => {
                ("an API token (Pipedrive, Personal preferences, API) of a user made for this", Use::CrmToken)
            }
            CrmKind::Zoho { .. } => (
                "a JSON object with client_id, client_secret and refresh_token (Zoho API Console, Self Client)",
                Use::Zoho,
            ),
            CrmKind::GoogleSheets { .. } => (
                "a service account's JSON key, whole, as Google Cloud gave it; share the spreadsheet with its client_email",
                Use::ServiceAccount,
            ),
            CrmKind::Webhook { .. } => SIGNS_OUR_CALLS,
        };
        Needed { name: config.crm_secret(name), what: format!("`{name}`: {what}"), its_use }
    });
    let targets = config.targets.iter().filter_map(|(name, target)| {
        let (what, its_use) = match &target.kind {
            TargetKind::Slack => (
                "the address of an incoming webhook, https://hooks.slack.com/services/… (Slack, the app, Incoming Webhooks)",
                Use::SlackAddress,
            ),
            TargetKind::Teams => (
                "the address of a workflow that starts when a Teams webhook request is received, with its sig=…",
                Use::TeamsAddress,
            ),
            // The function's role may write to these.
            TargetKind::Email { .. } | TargetKind::Sns { .. } => return None,
            TargetKind::Webhook { .. } => SIGNS_OUR_CALLS,
        };
        Some(Needed { name: config.target_secret(name), what: format!("`{name}`: {what}"), its_use })
    });
    lines.chain(crms).chain(targets)
}

fn for_calendars(config: &ClientConfig) -> impl Iterator<Item = Needed> {
    config.calendars.iter().flat_map(|(name, calendar)| {
        let (webhook, credential) = match &calendar.kind {
            CalendarKind::CalCom => (
                Some((
                    "the secret of its webhook (Cal.com, Settings, Developer, Webhooks); without one it signs nothing",
                    Use::Webhook,
                )),
                None,
            ),
            CalendarKind::Calendly { .. } => (
                Some((
                    "the signing key that was chosen when the webhook subscription was made through Calendly's API",
                    Use::Webhook,
                )),
                None,
            ),
            CalendarKind::Acuity { .. } => (
                Some(("the account's API key, which signs as well (Acuity, Integrations, API)", Use::Webhook)),
                Some(("the same API key once more, to read appointments", Use::CalendarApi)),
            ),
            CalendarKind::Square { .. } => (
                Some((
                    "the signature key of the webhook subscription (Square Developer Console, Webhooks)",
                    Use::Webhook,
                )),
                Some(("an access token that may read customers (CUSTOMERS_READ)", Use::CalendarApi)),
            ),
            CalendarKind::Custom { verify, .. } => (Some(custom(verify)), None),
            CalendarKind::Ics(feed) => (
                feed.google_push.then_some((
                    "a long random value; give it to Google as the `token` of the channel that watches the calendar",
                    Use::Webhook,
                )),
                Some((
                    "the feed's secret address, https://… (Google Calendar: Settings, Secret address in iCal format)",
                    Use::FeedAddress,
                )),
            ),
        };
        let needed = |secret: String, (what, its_use): (&str, Use)| Needed {
            name: secret,
            what: format!("`{name}`: {what}"),
            its_use,
        };
        let webhook = webhook.map(|what| needed(config.webhook_secret(name), what));
        let credential = credential.map(|what| needed(config.calendar_secret(name), what));
        webhook.into_iter().chain(credential)
    })
}

fn for_forms(config: &ClientConfig) -> impl Iterator<Item = Needed> {
    config.forms.iter().flat_map(|(name, form)| {
        let webhook = match &form.verify {
            FormScheme::Signature => (signed_by(form.kind), Use::Webhook),
            FormScheme::StandardWebhooks => STANDARD_WEBHOOKS,
            FormScheme::StaticHeader { .. } => STATIC_HEADER,
            FormScheme::SecretPath => (
                "a long random value of letters, digits, - and _; the address that the form posts to ends in it: /leads/…/…",
                Use::Path,
            ),
        };
        let handshake = (form.kind == FormKind::Meta).then_some((
            "the verify token: a long random value; type it where the callback URL is set (Meta for Developers, Webhooks)",
            Use::Webhook,
        ));
        let credential = match form.kind {
            FormKind::Meta => Some((
                "an access token of the Page that may read its leads (leads_retrieval), a system user's, which does not expire",
                Use::LeadApi,
            )),
            FormKind::HubSpot => Some((
                "a private app's token, to read contacts (crm.objects.contacts.read); needed when an app's subscription posts",
                Use::ContactApi,
            )),
            _ => None,
        };
        let needed = |secret: String, (what, its_use): (&str, Use)| Needed {
            name: secret,
            what: format!("`{name}`: {what}"),
            its_use,
        };
        let webhook = needed(config.webhook_secret(name), webhook);
        let handshake = handshake.map(|what| needed(config.handshake_secret(name), what));
        let credential = credential.map(|what| needed(config.form_secret(name), what));
        std::iter::once(webhook).chain(handshake).chain(credential)
    })
}

/// What a form's sender proves its deliveries with.
fn signed_by(kind: FormKind) -> &'static str {
    match kind {
        FormKind::Typeform => {
            "the secret of its webhook (Typeform, Connect, Webhooks, Edit); without one it signs nothing"
        }
        FormKind::GoogleAds => {
            "the key of its webhook (Google Ads, the lead form, Lead delivery option, Webhook integration)"
        }
        FormKind::Meta => "the app's secret (Meta for Developers, App settings, Basic)",
        FormKind::Webflow => {
            "the secret that came with the webhook when it was made through Webflow's API, or the client secret of the app that \
             made it"
        }
        FormKind::Tally => {
            "the signing secret of its webhook (Tally, Integrations, Webhooks); without one it signs nothing"
        }
        FormKind::HubSpot => "the client secret of the app that signs (HubSpot, the app, Auth)",
        // They sign nothing, so this is in no file that loads.
        FormKind::Jotform
        | FormKind::Elementor
        | FormKind::GravityForms
        | FormKind::WpForms
        | FormKind::ContactForm7
        | FormKind::Web => "a long random value",
    }
}

/// What a sender signs with that follows Standard Webhooks.
const STANDARD_WEBHOOKS: (&str, Use) = ("the sender's signing secret (whsec_…)", Use::StandardWebhooks);
/// What we sign with where somebody's own address is called.
const SIGNS_OUR_CALLS: (&str, Use) =
    ("what our calls are signed with, whsec_…: make one, and give it to whoever takes them", Use::StandardWebhooks);
/// What a sender puts into a header.
const STATIC_HEADER: (&str, Use) = ("a long random value; the sender puts it into its header", Use::Webhook);

/// What proves where the deliveries of a sender of somebody's own making come from.
fn custom(verify: &CustomScheme) -> (&'static str, Use) {
    match verify {
        CustomScheme::StandardWebhooks => STANDARD_WEBHOOKS,
        CustomScheme::StaticHeader { .. } => STATIC_HEADER,
    }
}
