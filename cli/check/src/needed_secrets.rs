//! The secrets that a client needs, with their descriptions.

use tellonce_core::{
    client_config::{ClientConfig, SecretFacts, SecretPurpose},
    provider::{PROVIDER, PROVIDER_NAME},
};

/// A secret that a client needs.
#[derive(Debug, Clone)]
pub struct NeededSecret {
    /// Its full name.
    pub name: String,
    /// What to store in it.
    pub description: String,
    /// Its use, which decides the valid values.
    pub purpose: SecretPurpose,
    /// Whether the agency chooses the value and enters it at the other system.
    pub is_chosen: bool,
}

impl NeededSecret {
    /// Whether the client works without it, for some of its deliveries.
    pub fn is_optional(&self) -> bool {
        matches!(self.purpose, SecretPurpose::StoreApi | SecretPurpose::ContactApi)
    }
}

/// The secrets that a client needs, in the order in which an operator creates them.
pub fn list_needed_secrets(config: &ClientConfig) -> Vec<NeededSecret> {
    let mut secrets = NeededSecrets(Vec::new());
    for line in config.lines.keys() {
        let prefix = PROVIDER.facts().token_prefix;
        let description = format!("the token of the line `{line}` ({prefix}…, from {PROVIDER_NAME})");
        secrets.0.push(NeededSecret {
            name: config.line_secret_name(line),
            description,
            purpose: SecretPurpose::LineToken,
            is_chosen: false,
        });
    }
    for (name, store) in &config.stores {
        secrets.add(config.webhook_secret_name(name), name, Some(store.kind.sender().secret));
    }
    for (name, store) in &config.stores {
        secrets.add(config.store_api_secret_name(name), name, store.kind.facts().api_secret);
    }
    for (name, calendar) in &config.calendars {
        let sender = calendar.kind.sender();
        secrets.add(config.webhook_secret_name(name), name, sender.map(|sender| sender.secret));
        secrets.add(config.calendar_secret_name(name), name, calendar.kind.facts().credential);
    }
    for (name, form) in &config.forms {
        secrets.add(config.webhook_secret_name(name), name, Some(form.sender().secret));
        secrets.add(config.handshake_secret_name(name), name, form.kind.facts().handshake_secret);
        secrets.add(config.form_secret_name(name), name, form.kind.facts().api_secret);
    }
    for (name, _) in config.lines.iter().filter(|(_, line)| line.events) {
        let description = format!(
            "`{name}`: a long random value of letters, digits, - and _; the address that {PROVIDER_NAME} posts to ends in it: \
             /lines/{name}/…"
        );
        secrets.0.push(NeededSecret {
            name: config.line_webhook_secret_name(name),
            description,
            purpose: SecretPurpose::PathSecret,
            is_chosen: true,
        });
    }
    for (name, crm) in &config.crms {
        secrets.add(config.crm_secret_name(name), name, Some(crm.kind.facts().secret));
    }
    for (name, target) in &config.targets {
        secrets.add(config.target_secret_name(name), name, target.kind.facts().secret);
    }
    secrets.0
}

struct NeededSecrets(Vec<NeededSecret>);

impl NeededSecrets {
    /// Adds the secret of `owner`, if its kind needs one.
    fn add(&mut self, name: String, owner: &str, facts: Option<SecretFacts>) {
        if let Some(SecretFacts { description, purpose, is_chosen }) = facts {
            self.0.push(NeededSecret { name, description: format!("`{owner}`: {description}"), purpose, is_chosen });
        }
    }
}
