//! The kinds of store, calendar and form as `client.toml` needs them at the start: the settings
//! without which a kind does not load, with values that its recorded deliveries fit.

/// A kind of sender.
#[derive(Debug)]
pub(super) struct StarterKind {
    /// The name in `client.toml`.
    pub(super) name: &'static str,
    /// Its settings as TOML lines. `{client}` is the client's id, `{sender}` the sender's name.
    settings: &'static str,
}

impl StarterKind {
    const fn new(name: &'static str, settings: &'static str) -> Self {
        Self { name, settings }
    }

    /// Its settings for one sender of a client.
    pub(super) fn settings(&self, client: &str, sender: &str) -> String {
        self.settings.replace("{client}", client).replace("{sender}", sender)
    }
}

/// Stores.
pub(super) static STORES: [StarterKind; 3] = [
    StarterKind::new(
        "shopify",
        "shop_domain = \"{client}.myshopify.com\"   # the domain in the deliveries, not the shop's public address\n",
    ),
    StarterKind::new(
        "woocommerce",
        "source = \"https://{client}.example.com/\"   # the site's home URL, as X-WC-Webhook-Source contains it\n\
         statuses = { processing = \"paid\", ready-for-pickup = \"ready\", completed = \"shipped\", cancelled = \"cancelled\" }\n",
    ),
    StarterKind::new(
        "custom",
        "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }   # or \"standard-webhooks\", if it can sign\n\
         fields = { event = \"/event\", delivery_id = \"/event_id\", order_id = \"/order/id\", order_number = \
         \"/order/number\", phone = \"/customer/phone\", name = \"/customer/name\" }\n\
         events = { \"order.paid\" = \"paid\", \"order.ready\" = \"ready\", \"order.shipped\" = \"shipped\", \
         \"order.cancelled\" = \"cancelled\" }\n",
    ),
];

/// Calendars.
pub(super) static CALENDARS: [StarterKind; 6] = [
    StarterKind::new("calcom", ""),
    StarterKind::new("calendly", ""),
    StarterKind::new("acuity", "user_id = \"12345678\"   # the account's user id: Integrations, API\n"),
    StarterKind::new(
        "square",
        "notification_url = \"https://hooks.example.com/bookings/{sender}\"   # exactly as registered at Square\n",
    ),
    StarterKind::new(
        "custom",
        "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }   # or \"standard-webhooks\", if it can sign\n\
         fields = { id = \"/id\", start = \"/start\", status = \"/status\", phone = \"/customer/phone\", name = \
         \"/customer/name\", delivery_id = \"/event_id\" }\n\
         statuses = { confirmed = \"booked\", pending = \"unconfirmed\", cancelled = \"cancelled\" }\n",
    ),
    StarterKind::new(
        "ics",
        "phone = { field = \"description\", after = [\"Phone:\", \"tel:\"] }   # where the number stands in an event\n",
    ),
];

const CONSENT_BOX: &str = "consent = { field = \"whatsapp_consent\" }   # the checkbox's name, id, key or label\n";

/// Forms.
pub(super) static FORMS: [StarterKind; 12] = [
    StarterKind::new("typeform", CONSENT_BOX),
    StarterKind::new(
        "google-ads",
        "# The exact sentence above the form's button: write it here and there.\n\
         consent = { stated = \"By submitting you agree that we write to you on WhatsApp about your request\" }\n",
    ),
    StarterKind::new("meta", "consent = { field = \"whatsapp_consent\" }   # the key of the checkbox\n"),
    StarterKind::new("webflow", CONSENT_BOX),
    StarterKind::new("tally", CONSENT_BOX),
    StarterKind::new(
        "jotform",
        "fields = { phone = \"q5_phoneNumber\", name = \"q3_fullName\" }\n\
         consent = { field = \"q6_consent\", accepts = [\"I agree to WhatsApp messages\"] }   # the words beside the box\n",
    ),
    StarterKind::new("elementor", CONSENT_BOX),
    StarterKind::new(
        "gravity-forms",
        "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }\n\
         fields = { phone = \"3\", first_name = \"1.3\", last_name = \"1.6\" }   # the numbers of the form's fields\n\
         consent = { field = \"4.1\" }\n",
    ),
    StarterKind::new(
        "wpforms",
        "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }\n\
         fields = { id = \"entry_id\" }\n\
         consent = { field = \"whatsapp_consent\" }\n",
    ),
    StarterKind::new(
        "contact-form-7",
        "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }\n\
         fields = { phone = \"your-tel\", name = \"your-name\" }   # mail-tags\n\
         consent = { field = \"acceptance-whatsapp\" }\n",
    ),
    StarterKind::new(
        "hubspot",
        "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }   # of the workflow action \"Send a webhook\"\n\
         fields = { first_name = \"firstname\", last_name = \"lastname\" }\n\
         consent = { field = \"whatsapp_consent\" }   # the contact's property\n",
    ),
    StarterKind::new(
        "web",
        "verify = { scheme = \"static-header\", header = \"X-Webhook-Token\" }   # set by the site's server, never in the page\n\
         fields = { id = \"lead_id\" }\n\
         consent = { field = \"whatsapp_consent\" }\n",
    ),
];

#[cfg(test)]
mod tests {
    use tellonce_core::client_config::{CalendarFacts, FormKind, StoreFacts};

    use super::*;

    #[test]
    fn every_kind_of_store_calendar_and_form_can_be_chosen() {
        let names = |kinds: &[StarterKind]| kinds.iter().map(|kind| kind.name).collect::<Vec<_>>();
        assert_eq!(names(&STORES), StoreFacts::ALL.map(|facts| facts.name));
        assert_eq!(names(&CALENDARS), CalendarFacts::ALL.map(|facts| facts.name));
        assert_eq!(names(&FORMS), FormKind::ALL.map(|kind| kind.facts().name));
    }
}
