//! The text of a new `client.toml`.

use std::fmt::{self, Write as _};

use super::{kinds::StarterKind, texts::StarterTexts};

/// A store, calendar or form of a new client.
#[derive(Debug, Clone)]
pub(super) struct NewSender {
    pub(super) name: String,
    pub(super) kind: &'static StarterKind,
}

impl NewSender {
    /// Names the senders of one table. The first gets `first`, the others the names of their kinds.
    pub(super) fn name_all(first: &str, kinds: &[&'static StarterKind]) -> Vec<Self> {
        let name = |at: usize, kind: &StarterKind| match (at, kind.name) {
            (0, _) => first.to_owned(),
            // Stores and calendars both have this kind, and a client has each name once.
            (_, "custom") => format!("custom-{first}"),
            (_, kind) => kind.to_owned(),
        };
        kinds.iter().enumerate().map(|(at, kind)| Self { name: name(at, kind), kind }).collect()
    }
}

/// What a new `client.toml` contains.
#[derive(Debug)]
pub(super) struct ClientFile<'a> {
    pub(super) client: &'a str,
    pub(super) name: &'a str,
    pub(super) country: &'a str,
    pub(super) time_zone: &'a str,
    pub(super) texts: &'a [&'static StarterTexts],
    pub(super) stores: &'a [NewSender],
    pub(super) calendars: &'a [NewSender],
    pub(super) forms: &'a [NewSender],
    /// The provider of the line, for people.
    pub(super) provider: &'a str,
}

impl ClientFile<'_> {
    pub(super) fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        self.write_client(&mut text)?;
        self.write_senders(&mut text, "stores", self.stores, |_, _| Ok(()))?;
        if !self.stores.is_empty() {
            self.write_message(&mut text, "messages.paid", Some("3d"), |texts| texts.paid)?;
            self.write_message(&mut text, "messages.ready", Some("4d"), |texts| texts.ready)?;
            self.write_message(&mut text, "messages.shipped", Some("7d"), |texts| texts.shipped)?;
        }
        self.write_senders(&mut text, "calendars", self.calendars, |text, name| {
            let table = format!("calendars.{name}.reminders.\"24h\"");
            self.write_message(text, &table, None, |texts| texts.reminder)
        })?;
        self.write_senders(&mut text, "forms", self.forms, |text, name| {
            let table = format!("forms.{name}.first_touch");
            self.write_message(text, &table, Some("1d"), |texts| texts.first_touch)
        })?;
        Ok(text)
    }

    fn write_client(&self, text: &mut String) -> fmt::Result {
        let Self { client, country, time_zone, provider, .. } = self;
        let languages: Vec<_> = self.texts.iter().map(|texts| quote(texts.language)).collect();
        writeln!(text, "#:schema ../client.schema.json")?;
        writeln!(
            text,
            "# docs/configuration.md explains each setting, and clients/demo/client.toml shows them all.\n"
        )?;
        writeln!(text, "client = {}", quote(client))?;
        writeln!(text, "name = {}   # what customers read", quote(self.name))?;
        writeln!(text, "country = {}   # of phone numbers without a country code", quote(country))?;
        writeln!(text, "time_zone = {}", quote(time_zone))?;
        writeln!(text, "languages = [{}]   # the first is the default", languages.join(", "))?;
        writeln!(text, "# Messages of these hours wait until they end. Decide before the first deployment.")?;
        writeln!(text, "# quiet_hours = {{ from = \"21:30\", to = \"08:00\" }}\n")?;
        writeln!(text, "[lines.main]\nline_id = {}   # the line's id at {provider}", quote(&format!("line_{client}")))?;
        writeln!(text, "events = true   # replies and deliveries are known, once `tellonce webhook register` ran")
    }

    fn write_senders(
        &self,
        text: &mut String,
        table: &str,
        senders: &[NewSender],
        write_messages: impl Fn(&mut String, &str) -> fmt::Result,
    ) -> fmt::Result {
        for NewSender { name, kind } in senders {
            writeln!(text, "\n[{table}.{name}]\nkind = {}\nline = \"main\"", quote(kind.name))?;
            if senders.len() > 1 {
                writeln!(text, "id_scope = {}", quote(name))?;
            }
            text.push_str(&kind.settings(self.client, name));
            write_messages(text, name)?;
        }
        Ok(())
    }

    fn write_message(
        &self,
        text: &mut String,
        table: &str,
        useful_for: Option<&str>,
        choose: impl Fn(&StarterTexts) -> &'static str,
    ) -> fmt::Result {
        writeln!(text, "\n[{table}]")?;
        if let Some(span) = useful_for {
            writeln!(text, "useful_for = {}", quote(span))?;
        }
        for texts in self.texts {
            writeln!(text, "text.{} = {}", texts.language, quote(choose(texts)))?;
        }
        Ok(())
    }
}

fn quote(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
