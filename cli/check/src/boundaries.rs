//! Refuses settings for uses that tellonce does not support. The error gives the reason. Facts:
//! `docs/boundaries.md`.
//!
//! The check reads only names of settings. The names that a client chooses (stores, calendars,
//! forms, lines, CRMs, targets, escalations, a shop's order statuses, an ERP's events) are free.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{FindingCollector, Severity, source::ConfigSource};
use tellonce_core::provider::{PROVIDER, PROVIDER_NAME};

/// A refused use: the names of settings that ask for it, and the reason.
struct Boundary {
    names: &'static [&'static str],
    reason: &'static str,
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        names: &["campaign", "broadcast", "bulk", "blast", "newsletter", "segment", "audience", "promotion"],
        reason: "campaigns and bulk messages are made in {provider}'s own campaign surface; a loop of single sends gets a line \
              blocked",
    },
    Boundary {
        names: &["cold_outbound", "outbound", "prospect", "import_contact", "contact_list", "recipient"],
        reason: "messages go only to people who ordered, booked or asked for them: cold outbound is refused",
    },
    Boundary {
        names: &["import", "import_file", "contacts_file", "lead_file", "csv", "list", "lead_list", "mailing_list"],
        reason: "a lead is one person who has just sent a form with consent; an imported list is cold outbound, whatever \
              its source",
    },
    Boundary {
        names: &["sequence", "drip", "nurture", "cadence", "follow_up", "followup", "next_touch", "second_touch"],
        reason: "a lead receives one first touch and no further message; the client's team continues the conversation in \
              {provider}",
    },
    Boundary {
        names: &["group", "community"],
        reason: "groups are not automated: {provider}'s API is for one customer at a time",
    },
    Boundary {
        names: &["channel"],
        reason: "WhatsApp channels are not automated: {provider}'s API is for one customer at a time",
    },
    Boundary {
        names: &[
            "bot",
            "chatbot",
            "auto_reply",
            "autoreply",
            "auto_answer",
            "auto_responder",
            "away_message",
            "ai_reply",
            "reply",
            "respond",
            "flow",
            "menu",
        ],
        reason: "customers who write are answered by the client's team in {provider}, not by a bot; an escalation's `acknowledge` is \
              the only automatic reply",
    },
    Boundary {
        names: &[
            "on_reply",
            "on_answer",
            "keyword",
            "confirm_word",
            "cancel_word",
            "confirmation",
            "ask_to_confirm",
            "rsvp",
        ],
        reason: "tellonce does not act on \"yes\" or \"cancel\": replies are for the client's team in {provider}, and an \
              appointment is confirmed, moved or cancelled where it was booked; words can only alert the team \
              ([escalations]) or opt out of greetings and reminders ([opt_out])",
    },
    Boundary {
        names: &[
            "assign",
            "assigned_to",
            "assignment",
            "assignee",
            "assign_to",
            "owner",
            "owner_id",
            "ownership",
            "round_robin",
            "crm_owner",
            "contact_owner",
            "lead_owner",
            "hubspot_owner_id",
        ],
        reason: "the owner of a conversation is decided in {provider} alone, and the owner of a contact in the CRM; tellonce writes neither",
    },
    Boundary {
        names: &["inbox", "shared_inbox", "agent", "helpdesk"],
        reason: "the client's team reads and answers in {provider}; there is no second inbox",
    },
    Boundary {
        names: &["waba", "cloud_api", "official_template", "template_id"],
        reason: "{provider} speaks through a linked device and is not the official WhatsApp Business Platform",
    },
];

const SECRET_NAMES: &[&str] = &[
    "token",
    "api_token",
    "api_key",
    "line_token",
    "access_token",
    "refresh_token",
    "client_secret",
    "private_key",
    "secret",
    "password",
    "webhook_secret",
];
const SECRET_PREFIXES: &[&str] = &[
    PROVIDER.facts().token_prefix,
    "whsec_",
    "shpat_",
    "shpss_",
    "shpca_",
    "Bearer ",
    "pat-na",
    "pat-eu",
    "pat-ap",
    "https://hooks.slack.com/",
    "-----BEGIN ",
];

impl ConfigSource<'_> {
    /// The places of refused settings.
    pub(super) fn refused_spans(&self) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        visit_settings(self.table.get_ref(), &mut Vec::new(), &mut |key, path| {
            let refused = refusal_reason(key.get_ref(), path).is_some() || is_secret_name(key.get_ref());
            if refused {
                spans.push(key.span());
            }
            !refused
        });
        spans
    }
}

/// Reports refused settings, and secrets.
pub(super) fn check_boundaries(findings: &mut FindingCollector<'_>) {
    let source = findings.source;
    visit_settings(source.table.get_ref(), &mut Vec::new(), &mut |key, path| {
        let line = source.line_at(key.span().start);
        let name = key.get_ref();
        if let Some(why) = refusal_reason(name, path) {
            let what = format!("`{}` is refused: {why}", path.join("."));
            let remedy = "remove it, and record in decisions.md beside this file what the client asked for and what was decided; \
                          docs/boundaries.md has the reasons";
            findings.add_finding(Severity::Error, line, what, remedy.to_owned());
        } else if is_secret_name(name) {
            let what = format!("`{}` would put a secret into a file that is kept in git", path.join("."));
            let remedy = "remove it; `tellonce check` lists the secrets to create in Secrets Manager";
            findings.add_finding(Severity::Error, line, what, remedy.to_owned());
        } else {
            return true;
        }
        false
    });
    visit_texts(source.table.get_ref(), &mut |text, place| {
        if SECRET_PREFIXES.iter().any(|beginning| text.starts_with(beginning)) {
            let what =
                "this looks like a secret, and this file is kept in git and shipped to every function".to_owned();
            let remedy = "remove it, and replace that secret by a new one: every reader of the file knows it";
            findings.add_finding(Severity::Error, source.line_at(place.start), what, remedy.to_owned());
        }
    });
}

/// The reason why a setting is refused. `path` is the keys that lead to it, and its name.
fn refusal_reason(name: &str, path: &[String]) -> Option<String> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    // A channel of Slack or Teams is not a WhatsApp channel. It is an unknown setting.
    if name == "channel" && path.first().is_some_and(|first| first == "targets") {
        return None;
    }
    let singular = name
        .strip_suffix("ies")
        .map_or_else(|| name.strip_suffix('s').unwrap_or(&name).to_owned(), |stem| format!("{stem}y"));
    let asks = |names: &[&str]| names.iter().any(|refused| *refused == name || *refused == singular);
    BOUNDARIES
        .iter()
        .find(|boundary| asks(boundary.names))
        .map(|boundary| boundary.reason.replace("{provider}", PROVIDER_NAME))
}

fn is_secret_name(name: &str) -> bool {
    SECRET_NAMES.contains(&name.to_ascii_lowercase().replace('-', "_").as_str())
}

/// Visits every key that names a setting, with the keys that lead to it. Visits the keys below it
/// if `visit` returns true.
fn visit_settings<'a>(
    table: &DeTable<'a>,
    path: &mut Vec<String>,
    visit: &mut dyn FnMut(&Spanned<DeString<'a>>, &[String]) -> bool,
) {
    let names_are_free = match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["lines" | "stores" | "calendars" | "forms" | "crms" | "targets" | "escalations"] => true,
        [.., last] => matches!(*last, "statuses" | "events" | "values" | "text" | "reminders" | "words" | "opt_out"),
        [] => false,
    };
    for (key, value) in table {
        path.push(key.get_ref().clone().into_owned());
        let deeper = names_are_free || visit(key, path);
        if let (true, DeValue::Table(inner)) = (deeper, value.get_ref()) {
            visit_settings(inner, path, visit);
        }
        path.pop();
    }
}

/// Visits every text value of the file.
fn visit_texts(table: &DeTable<'_>, visit: &mut dyn FnMut(&str, Range<usize>)) {
    fn visit_value(value: &Spanned<DeValue<'_>>, visit: &mut dyn FnMut(&str, Range<usize>)) {
        match value.get_ref() {
            DeValue::String(text) => visit(text, value.span()),
            DeValue::Table(table) => visit_texts(table, visit),
            DeValue::Array(items) => items.iter().for_each(|item| visit_value(item, visit)),
            _ => {}
        }
    }
    table.iter().for_each(|(_, value)| visit_value(value, visit));
}
