//! Which secrets a client needs, and what to put into them.

use tellonce_core::client_config::{
    CalendarKind, ClientConfig, CrmKind, CustomScheme, FormKind, FormScheme, StoreKind, TargetKind,
};

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPurpose {
    /// A line's token.
    LineToken,
    /// Signs a Standard Webhooks sender's deliveries.
    StandardWebhooks,
    /// Signs, or stands in, another sender's deliveries.
    WebhookSecret,
    /// Stands at the end of an address.
    PathSecret,
    /// Looks orders up in the store. Can be missing.
    StoreApi,
    /// Asks a booking system for what it did not post.
    CalendarApi,
    /// Where a feed is.
    FeedAddress,
    /// Reads the leads that Meta only names.
    LeadApi,
    /// Reads the contacts that `HubSpotClient` only names. Can be missing: a workflow posts them whole.
    ContactApi,
    /// Writes to a CRM that takes a plain token.
    CrmToken,
    /// Writes to Zoho CRM.
    ZohoClient,
    /// Writes to Google Sheets.
    ServiceAccount,
    /// Where Slack takes messages.
    SlackAddress,
    /// Where a Teams workflow takes messages.
    TeamsAddress,
}

/// A secret that a client needs.
#[derive(Debug, Clone)]
pub struct NeededSecret {
    /// Its full name.
    pub name: String,
    /// What to put into it.
    pub description: String,
    /// What it is for, and so what may stand in it.
    pub purpose: SecretPurpose,
}

/// The secrets that a client needs, in the order to create them.
pub fn list_needed_secrets(config: &ClientConfig) -> Vec<NeededSecret> {
    let lines = config.lines.keys().map(|line| NeededSecret {
        name: config.line_secret_name(line),
        description: format!("the token of the line `{line}` (ezw_line_…, from EZWhatsApp)"),
        purpose: SecretPurpose::LineToken,
    });
    let webhooks = config.stores.iter().map(|(name, store)| {
        let (what, its_use) = match &store.kind {
            StoreKind::Shopify { .. } => (
                "the client secret of the app that posts (or the secret on Settings > Notifications)",
                SecretPurpose::WebhookSecret,
            ),
            StoreKind::WooCommerce { .. } => {
                ("the webhooks' secret, the same in each of them", SecretPurpose::WebhookSecret)
            }
            StoreKind::Custom { verify, .. } => custom_sender_secret(verify),
        };
        NeededSecret {
            name: config.webhook_secret_name(name),
            description: format!("`{name}`: {what}"),
            purpose: its_use,
        }
    });
    let apis = config.stores.iter().filter(|(_, store)| matches!(store.kind, StoreKind::Shopify { .. }));
    let apis = apis.map(|(name, _)| NeededSecret {
        name: config.store_api_secret_name(name),
        description: format!("`{name}`: a token of its Admin API, to look up pickups and parcels (read_orders, …)"),
        purpose: SecretPurpose::StoreApi,
    });
    lines
        .chain(webhooks)
        .chain(apis)
        .chain(list_calendar_secrets(config))
        .chain(list_form_secrets(config))
        .chain(list_conversation_secrets(config))
        .collect()
}

/// For what EZWhatsApp reports of lines, and for whom it is told on.
fn list_conversation_secrets(config: &ClientConfig) -> impl Iterator<Item = NeededSecret> {
    let lines = config.lines.iter().filter(|(_, line)| line.events).map(|(name, _)| NeededSecret {
        name: config.line_webhook_secret_name(name),
        description: format!(
            "`{name}`: a long random value of letters, digits, - and _; the address that EZWhatsApp posts to ends in it: \
             /lines/{name}/…"
        ),
        purpose: SecretPurpose::PathSecret,
    });
    let crms = config.crms.iter().map(|(name, crm)| {
        let (what, its_use) = match &crm.kind {
            CrmKind::HubSpot { .. } => (
                "a private app's token, to read and write contacts (crm.objects.contacts.read, crm.objects.contacts.write)",
                SecretPurpose::CrmToken,
            ),
            CrmKind::Pipedrive { .. } => {
                ("an API token (Pipedrive, Personal preferences, API) of a user made for this", SecretPurpose::CrmToken)
            }
            CrmKind::Zoho { .. } => (
                "a JSON object with client_id, client_secret and refresh_token (Zoho API Console, Self Client)",
                SecretPurpose::ZohoClient,
            ),
            CrmKind::GoogleSheets { .. } => (
                "a service account's JSON key, whole, as Google Cloud gave it; share the spreadsheet with its client_email",
                SecretPurpose::ServiceAccount,
            ),
            CrmKind::Webhook { .. } => OUTGOING_SIGNATURE,
        };
        NeededSecret { name: config.crm_secret_name(name), description: format!("`{name}`: {what}"), purpose: its_use }
    });
    let targets = config.targets.iter().filter_map(|(name, target)| {
        let (what, its_use) = match &target.kind {
            TargetKind::Slack => (
                "the address of an incoming webhook, https://hooks.slack.com/services/… (Slack, the app, Incoming Webhooks)",
                SecretPurpose::SlackAddress,
            ),
            TargetKind::Teams => (
                "the address of a workflow that starts when a Teams webhook request is received, with its sig=…",
                SecretPurpose::TeamsAddress,
            ),
            // The function's role may write to these.
            TargetKind::Email { .. } | TargetKind::Sns { .. } => return None,
            TargetKind::Webhook { .. } => OUTGOING_SIGNATURE,
        };
        Some(NeededSecret { name: config.target_secret_name(name), description: format!("`{name}`: {what}"), purpose: its_use })
    });
    lines.chain(crms).chain(targets)
}

fn list_calendar_secrets(config: &ClientConfig) -> impl Iterator<Item = NeededSecret> {
    config.calendars.iter().flat_map(|(name, calendar)| {
        let (webhook, credential) = match &calendar.kind {
            CalendarKind::CalCom => (
                Some((
                    "the secret of its webhook (Cal.com, Settings, Developer, Webhooks); without one it signs nothing",
                    SecretPurpose::WebhookSecret,
                )),
                None,
            ),
            CalendarKind::Calendly { .. } => (
                Some((
                    "the signing key that was chosen when the webhook subscription was made through Calendly's API",
                    SecretPurpose::WebhookSecret,
                )),
                None,
            ),
            CalendarKind::Acuity { .. } => (
                Some((
                    "the account's API key, which signs as well (Acuity, Integrations, API)",
                    SecretPurpose::WebhookSecret,
                )),
                Some(("the same API key once more, to read appointments", SecretPurpose::CalendarApi)),
            ),
            CalendarKind::Square { .. } => (
                Some((
                    "the signature key of the webhook subscription (Square Developer Console, Webhooks)",
                    SecretPurpose::WebhookSecret,
                )),
                Some(("an access token that may read customers (CUSTOMERS_READ)", SecretPurpose::CalendarApi)),
            ),
            CalendarKind::Custom { verify, .. } => (Some(custom_sender_secret(verify)), None),
            CalendarKind::Ics(feed) => (
                feed.google_push.then_some((
                    "a long random value; give it to Google as the `token` of the channel that watches the calendar",
                    SecretPurpose::WebhookSecret,
                )),
                Some((
                    "the feed's secret address, https://… (Google Calendar: Settings, Secret address in iCal format)",
                    SecretPurpose::FeedAddress,
                )),
            ),
        };
        let needed = |secret: String, (what, its_use): (&str, SecretPurpose)| NeededSecret {
            name: secret,
            description: format!("`{name}`: {what}"),
            purpose: its_use,
        };
        let webhook = webhook.map(|what| needed(config.webhook_secret_name(name), what));
        let credential = credential.map(|what| needed(config.calendar_secret_name(name), what));
        webhook.into_iter().chain(credential)
    })
}

fn list_form_secrets(config: &ClientConfig) -> impl Iterator<Item = NeededSecret> {
    config.forms.iter().flat_map(|(name, form)| {
        let webhook = match &form.verify {
            FormScheme::Signature => (describe_form_signature(form.kind), SecretPurpose::WebhookSecret),
            FormScheme::StandardWebhooks => STANDARD_WEBHOOKS,
            FormScheme::StaticHeader { .. } => STATIC_HEADER,
            FormScheme::SecretPath => (
                "a long random value of letters, digits, - and _; the address that the form posts to ends in it: /leads/…/…",
                SecretPurpose::PathSecret,
            ),
        };
        let handshake = (form.kind == FormKind::Meta).then_some((
            "the verify token: a long random value; type it where the callback URL is set (Meta for Developers, Webhooks)",
            SecretPurpose::WebhookSecret,
        ));
        let credential = match form.kind {
            FormKind::Meta => Some((
                "an access token of the Page that may read its leads (leads_retrieval), a system user's, which does not expire",
                SecretPurpose::LeadApi,
            )),
            FormKind::HubSpot => Some((
                "a private app's token, to read contacts (crm.objects.contacts.read); needed when an app's subscription posts",
                SecretPurpose::ContactApi,
            )),
            _ => None,
        };
        let needed = |secret: String, (what, its_use): (&str, SecretPurpose)| NeededSecret {
            name: secret,
            description: format!("`{name}`: {what}"),
            purpose: its_use,
        };
        let webhook = needed(config.webhook_secret_name(name), webhook);
        let handshake = handshake.map(|what| needed(config.handshake_secret_name(name), what));
        let credential = credential.map(|what| needed(config.form_secret_name(name), what));
        std::iter::once(webhook).chain(handshake).chain(credential)
    })
}

/// What a form's sender proves its deliveries with.
fn describe_form_signature(kind: FormKind) -> &'static str {
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
const STANDARD_WEBHOOKS: (&str, SecretPurpose) =
    ("the sender's signing secret (whsec_…)", SecretPurpose::StandardWebhooks);
/// What we sign with where somebody's own address is called.
const OUTGOING_SIGNATURE: (&str, SecretPurpose) = (
    "what our calls are signed with, whsec_…: create one, and give it to the receiver of the calls",
    SecretPurpose::StandardWebhooks,
);
/// What a sender puts into a header.
const STATIC_HEADER: (&str, SecretPurpose) =
    ("a long random value; the sender puts it into its header", SecretPurpose::WebhookSecret);

/// What proves where the deliveries of a sender of somebody's own making come from.
fn custom_sender_secret(verify: &CustomScheme) -> (&'static str, SecretPurpose) {
    match verify {
        CustomScheme::StandardWebhooks => STANDARD_WEBHOOKS,
        CustomScheme::StaticHeader { .. } => STATIC_HEADER,
    }
}
