//! The secrets that a client needs, with their descriptions.

use tellonce_core::client_config::{
    CalendarKind, ClientConfig, CrmKind, CustomScheme, FormKind, FormScheme, StoreKind, TargetKind,
};

/// The use of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPurpose {
    /// The token of a line.
    LineToken,
    /// Signs the deliveries of a Standard Webhooks sender.
    StandardWebhooks,
    /// Signs the deliveries of another sender, or is part of them.
    WebhookSecret,
    /// The last segment of a secret address.
    PathSecret,
    /// Looks up orders in the store. May be missing.
    StoreApi,
    /// Looks up in a booking system what it did not post.
    CalendarApi,
    /// The address of a feed.
    FeedAddress,
    /// Looks up leads of which Meta posts only the id.
    LeadApi,
    /// Looks up contacts of which HubSpot posts only the id. May be missing, because a workflow
    /// posts whole contacts.
    ContactApi,
    /// Writes to a CRM that accepts a plain token.
    CrmToken,
    /// Writes to Zoho CRM.
    ZohoClient,
    /// Writes to Google Sheets.
    ServiceAccount,
    /// The address of a Slack webhook.
    SlackAddress,
    /// The address of a Teams workflow.
    TeamsAddress,
}

/// A secret that a client needs.
#[derive(Debug, Clone)]
pub struct NeededSecret {
    /// Its full name.
    pub name: String,
    /// What to store in it.
    pub description: String,
    /// Its use, which decides the valid values.
    pub purpose: SecretPurpose,
}

/// The secrets that a client needs, in the order in which an operator creates them.
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
                ("the secret of the webhooks, the same for all", SecretPurpose::WebhookSecret)
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

/// The secrets for line events, CRMs and targets.
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
                ("an API token (Pipedrive, Personal preferences, API) of a user created for this", SecretPurpose::CrmToken)
            }
            CrmKind::Zoho { .. } => (
                "a JSON object with client_id, client_secret and refresh_token (Zoho API Console, Self Client)",
                SecretPurpose::ZohoClient,
            ),
            CrmKind::GoogleSheets { .. } => (
                "a service account's complete JSON key from Google Cloud; share the spreadsheet with its client_email",
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
            // The function's role has this permission, so no secret is needed.
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
                    "the secret of its webhook (Cal.com, Settings, Developer, Webhooks); without one it does not sign",
                    SecretPurpose::WebhookSecret,
                )),
                None,
            ),
            CalendarKind::Calendly { .. } => (
                Some((
                    "the signing key that was chosen when the webhook subscription was created through Calendly's API",
                    SecretPurpose::WebhookSecret,
                )),
                None,
            ),
            CalendarKind::Acuity { .. } => (
                Some((
                    "the account's API key, which also signs (Acuity, Integrations, API)",
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

/// The secret of a form's sender for its proof.
fn describe_form_signature(kind: FormKind) -> &'static str {
    match kind {
        FormKind::Typeform => {
            "the secret of its webhook (Typeform, Connect, Webhooks, Edit); without one it does not sign"
        }
        FormKind::GoogleAds => {
            "the key of its webhook (Google Ads, the lead form, Lead delivery option, Webhook integration)"
        }
        FormKind::Meta => "the app's secret (Meta for Developers, App settings, Basic)",
        FormKind::Webflow => {
            "the secret in the response when the webhook was created through Webflow's API, or the client secret of the \
             app that created it"
        }
        FormKind::Tally => {
            "the signing secret of its webhook (Tally, Integrations, Webhooks); without one it does not sign"
        }
        FormKind::HubSpot => "the client secret of the app that signs (HubSpot, the app, Auth)",
        // They cannot sign, so no valid file has this combination.
        FormKind::Jotform
        | FormKind::Elementor
        | FormKind::GravityForms
        | FormKind::WpForms
        | FormKind::ContactForm7
        | FormKind::Web => "a long random value",
    }
}

/// The secret of a sender that signs by Standard Webhooks.
const STANDARD_WEBHOOKS: (&str, SecretPurpose) =
    ("the sender's signing secret (whsec_…)", SecretPurpose::StandardWebhooks);
/// The secret that signs calls to a client's own address.
const OUTGOING_SIGNATURE: (&str, SecretPurpose) = (
    "the secret that signs the calls of tellonce, whsec_…: create one, and give it to the receiver",
    SecretPurpose::StandardWebhooks,
);
/// The secret in the header of a sender.
const STATIC_HEADER: (&str, SecretPurpose) =
    ("a long random value; the sender puts it into its header", SecretPurpose::WebhookSecret);

/// The secret of a custom sender for its proof.
fn custom_sender_secret(verify: &CustomScheme) -> (&'static str, SecretPurpose) {
    match verify {
        CustomScheme::StandardWebhooks => STANDARD_WEBHOOKS,
        CustomScheme::StaticHeader { .. } => STATIC_HEADER,
    }
}
