//! `tellonce new`: makes the folder of a client and its environment in `samconfig.toml`.
//!
//! Flow: `client_file` writes the settings from `kinds` and `texts`. They must pass
//! `tellonce check`, and nothing is written before they do. `local_secrets` makes up values, so
//! that `cargo run` sends the first message without an account. `samconfig` adds the environment.

mod client_file;
mod kinds;
mod local_secrets;
mod samconfig;
mod texts;
mod time_zones;

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::builder::PossibleValuesParser;
use tellonce_check::{Finding, check_file};
use tellonce_core::{client_config::ClientConfig, provider::PROVIDER_NAME};

use crate::private_file::create_private_file;
use client_file::{ClientFile, NewSender};
use kinds::{CALENDARS, FORMS, STORES, StarterKind};
use samconfig::Deployment;
use texts::{STARTER_TEXTS, StarterTexts};

use crate::command_output::CommandOutput;

const DECISIONS: &str = include_str!("decisions.template");
const MAKEFILE: &str = include_str!("../../../clients/demo/Makefile");

/// `--store`, `--calendar` and `--form` may be repeated, with another kind each time.
#[derive(clap::Args)]
pub(crate) struct NewArguments {
    /// The client's short name: 2 to 30 lower-case letters, digits and `-`. It is part of the name
    /// of every secret, so it does not change later.
    #[arg(value_name = "CLIENT")]
    client: String,
    /// Country of phone numbers without a country code: ISO 3166-1 alpha-2, such as IL.
    #[arg(long, value_name = "CODE")]
    country: String,
    /// Time zone of the client, such as Asia/Jerusalem. Countries with one time zone need none.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Languages of the texts, the default first: en, he, es, pt, fr, de, it, ar, ru.
    #[arg(long, value_name = "CODES", value_delimiter = ',', default_value = "en")]
    languages: Vec<String>,
    /// The name that customers read. Default: the short name with a capital letter.
    #[arg(long)]
    name: Option<String>,
    /// Kind of a store.
    #[arg(long = "store", value_name = "KIND", value_parser = kind_names(&STORES))]
    stores: Vec<String>,
    /// Kind of a calendar or booking system.
    #[arg(long = "calendar", value_name = "KIND", value_parser = kind_names(&CALENDARS))]
    calendars: Vec<String>,
    /// Kind of a form.
    #[arg(long = "form", value_name = "KIND", value_parser = kind_names(&FORMS))]
    forms: Vec<String>,
    /// The client's folder. Its last part is the client's short name. Default: clients/CLIENT.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Region of the client's account, for samconfig.toml.
    #[arg(long)]
    region: Option<String>,
    /// Profile of the client's account, for samconfig.toml.
    #[arg(long)]
    profile: Option<String>,
    /// Address that is notified of alarms, for samconfig.toml.
    #[arg(long, value_name = "ADDRESS")]
    alarm_email: Option<String>,
}

fn kind_names(kinds: &'static [StarterKind]) -> PossibleValuesParser {
    PossibleValuesParser::new(kinds.iter().map(|kind| kind.name))
}

/// Makes a client. Writes nothing if anything is wrong.
pub(crate) fn make_client(arguments: &NewArguments) -> anyhow::Result<CommandOutput> {
    let here = std::env::current_dir().context("could not read the current folder")?;
    let root = here.ancestors().find(|folder| folder.join("template.yaml").is_file());
    let root = root.with_context(|| format!("could not find template.yaml in {} or above it", here.display()))?;
    let folder = arguments
        .folder
        .as_ref()
        .map_or_else(|| root.join("clients").join(&arguments.client), |folder| here.join(folder));
    let new = NewClient::plan(arguments)?;
    let folder_in_root = folder.strip_prefix(root).unwrap_or(&folder).to_owned();
    let samconfig_path = root.join("samconfig.toml");
    let samconfig =
        fs::read_to_string(&samconfig_path).with_context(|| format!("could not read {}", samconfig_path.display()))?;
    let deployment = Deployment {
        client: &arguments.client,
        folder: folder_in_root.to_str().context("the path of the folder is not UTF-8")?,
        region: arguments.region.as_deref(),
        profile: arguments.profile.as_deref(),
        alarm_email: arguments.alarm_email.as_deref(),
    };
    let samconfig = samconfig::add_environment(&samconfig, &deployment)?;
    new.write(&folder, root)?;
    fs::write(&samconfig_path, samconfig).with_context(|| format!("could not write {}", samconfig_path.display()))?;
    Ok(CommandOutput::from_text(new.describe(&folder_in_root)?))
}

/// The files of a client.
struct NewClient {
    config: ClientConfig,
    client_toml: String,
    secrets_json: String,
    decisions: String,
}

impl NewClient {
    /// Decides what the files contain.
    fn plan(arguments: &NewArguments) -> anyhow::Result<Self> {
        let stores = name_senders("shop", &STORES, &arguments.stores)?;
        let calendars = name_senders("diary", &CALENDARS, &arguments.calendars)?;
        let forms = name_senders("contact", &FORMS, &arguments.forms)?;
        ensure!(
            !(stores.is_empty() && calendars.is_empty() && forms.is_empty()),
            "a client needs a sender: add `--store KIND`, `--calendar KIND` or `--form KIND`; `tellonce new --help` \
             lists the kinds"
        );
        let name = arguments.name.clone().unwrap_or_else(|| capitalize(&arguments.client));
        let country = arguments.country.to_ascii_uppercase();
        let time_zone = match &arguments.time_zone {
            Some(zone) => zone,
            None => time_zones::only_zone_of(&country).with_context(|| {
                format!("the time zone of a client in `{country}` is not certain: add `--time-zone ZONE`")
            })?,
        };
        let file = ClientFile {
            client: &arguments.client,
            name: &name,
            country: &country,
            time_zone,
            texts: &choose_texts(&arguments.languages)?,
            stores: &stores,
            calendars: &calendars,
            forms: &forms,
            provider: PROVIDER_NAME,
        };
        let client_toml = file.render()?;
        let config = check_settings(&client_toml)?;
        let secrets_json = local_secrets::make_secrets(&config)?;
        let questions = render_questions(&file);
        let decisions = DECISIONS.replace("{name}", &name).replace("{questions}", &questions);
        Ok(Self { config, client_toml, secrets_json, decisions })
    }

    fn write(&self, folder: &Path, root: &Path) -> anyhow::Result<()> {
        ensure!(
            folder.file_name().is_some_and(|name| name == self.config.client.as_str()),
            "the folder {} must be named `{}`, as the client: the deployment uses both",
            folder.display(),
            self.config.client
        );
        let is_used = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        ensure!(!is_used, "{} exists already; choose another name, or remove it", folder.display());
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        let is_in_clients = folder.parent() == Some(&root.join("clients"));
        let schema = "#:schema ../client.schema.json\n";
        // The line leads nowhere from another folder.
        let client_toml = if is_in_clients { &self.client_toml } else { self.client_toml.trim_start_matches(schema) };
        write_file(folder, "client.toml", client_toml)?;
        write_file(folder, "decisions.md", &self.decisions)?;
        write_file(folder, "Makefile", MAKEFILE)?;
        if !is_in_clients {
            write_file(folder, ".gitignore", "/secrets.json\n")?;
        }
        write_file(folder, "secrets.json", &self.secrets_json)
    }

    /// What was made, and what to do next.
    fn describe(&self, folder: &Path) -> anyhow::Result<String> {
        let (client, folder) = (&self.config.client, folder.display());
        let mut text = String::new();
        writeln!(text, "Made the client `{client}`:\n")?;
        for (file, content) in [
            ("client.toml", format!("settings and texts ({})", self.config.languages.join(", "))),
            ("secrets.json", "made-up values for runs on this machine; git ignores it".to_owned()),
            ("decisions.md", "what to decide before the first deployment".to_owned()),
            ("Makefile", "packages client.toml".to_owned()),
        ] {
            writeln!(text, "  {:<32} {content}", format!("{folder}/{file}"))?;
        }
        writeln!(text, "  {:<32} its environment `{client}`", "samconfig.toml")?;
        writeln!(text, "\nNext:\n\n  cargo run -- --client {folder}")?;
        writeln!(text, "      starts it on this machine; press o for the first message")?;
        writeln!(text, "  cargo run --bin tellonce -- check {folder}")?;
        writeln!(text, "      checks your changes; README.md, \"Deploy a client\", has the next steps")?;
        Ok(text)
    }
}

fn write_file(folder: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    let could_not = || format!("could not write {}", path.display());
    // Real values replace the made-up ones sooner or later.
    let mut file = if name == "secrets.json" {
        create_private_file(&path)?
    } else {
        File::create_new(&path).with_context(could_not)?
    };
    file.write_all(content.as_bytes()).with_context(could_not)
}

/// The senders of one table, with a name each.
fn name_senders(first: &str, all: &'static [StarterKind], chosen: &[String]) -> anyhow::Result<Vec<NewSender>> {
    let mut kinds: Vec<&'static StarterKind> = Vec::new();
    for name in chosen {
        let kind = all.iter().find(|kind| kind.name == name);
        let kind = kind.with_context(|| format!("the kind `{name}` does not exist"))?;
        ensure!(
            kinds.iter().all(|other| other.name != kind.name),
            "`{name}` is named twice; write the second one into client.toml by hand"
        );
        kinds.push(kind);
    }
    Ok(NewSender::name_all(first, &kinds))
}

fn choose_texts(languages: &[String]) -> anyhow::Result<Vec<&'static StarterTexts>> {
    let choose = |language: &String| {
        let texts = STARTER_TEXTS.iter().find(|texts| texts.language == language);
        texts.with_context(|| {
            let known: Vec<_> = STARTER_TEXTS.iter().map(|texts| texts.language).collect();
            format!(
                "there are no texts in `{language}`; choose from {}, and add `{language}` to client.toml with texts of \
                 your own",
                known.join(", ")
            )
        })
    };
    languages.iter().map(choose).collect()
}

/// The settings as functions read them.
///
/// # Errors
///
/// Fails with everything that `tellonce check` reports, which follows from the arguments.
fn check_settings(client_toml: &str) -> anyhow::Result<ClientConfig> {
    let report = check_file(client_toml);
    match report.config {
        Some(config) if report.findings.is_empty() => Ok(config),
        _ => {
            let describe = |Finding { problem, remedy, .. }: Finding| format!("{problem}; {remedy}");
            let problems: Vec<_> = report.findings.into_iter().map(describe).collect();
            bail!("{}", problems.join("\n       "))
        }
    }
}

/// The rows of `decisions.md` that only some senders need.
fn render_questions(file: &ClientFile<'_>) -> String {
    let mut rows = String::new();
    let mut ask = |is_needed: bool, question: &str| {
        if is_needed {
            rows.push_str("| ");
            rows.push_str(question);
            rows.push_str(" | | | |\n");
        }
    };
    ask(!file.forms.is_empty(), "Which box or sentence on the form is the consent, and who may change the form?");
    ask(!file.calendars.is_empty(), "Who is reminded, when, and who moves an appointment if a customer asks for it?");
    ask(file.stores.len() > 1, "Which stores report the same orders, and share an `id_scope`?");
    rows
}

/// `acme-shop` becomes `Acme Shop`.
fn capitalize(client: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    };
    client.split('-').filter_map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
