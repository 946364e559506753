//! `tellonce check`: the problems of a client's folder with file, line and remedy. On request also
//! the secrets to create, and the field in which each form's facts are looked up.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use tellonce_check::{CheckReport, Finding, NeededSecret, Severity, check_file, list_needed_secrets};
use tellonce_core::{client_config::ClientConfig, secret::SecretLayout};

use crate::{
    command_output::CommandOutput,
    forms,
    secrets::{SecretsFile, find_tracked_file},
};

#[derive(clap::Args)]
pub(crate) struct CheckArguments {
    /// The client's folder, e.g. clients/demo.
    folder: PathBuf,
    /// A file of secrets to check as well: a JSON object, full secret name → "value" or {"current",
    /// "previous"}. Default: secrets.json in the folder, if it exists.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Print what each secret contains, with the command that creates it.
    #[arg(long)]
    list_secrets: bool,
    /// Print for each form where its facts are looked up, its consent, and which leads it greets.
    #[arg(long)]
    list_forms: bool,
}

/// Checks a client's folder. The output ends with a summary line.
pub(crate) fn run_check(arguments: &CheckArguments) -> anyhow::Result<CommandOutput> {
    let (folder, secrets) = (arguments.folder.as_path(), arguments.secrets.as_deref());
    let file = folder.join("client.toml");
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("could not read {}; name the client's folder: tellonce check clients/demo", file.display())
    })?;
    let CheckReport { config, findings } = check_file(&text);
    let mut found: Vec<(PathBuf, Finding)> = findings.into_iter().map(|finding| (file.clone(), finding)).collect();
    found.extend(find_missing_files(folder, config.as_ref()));
    let secrets_file = secrets.map_or_else(|| folder.join("secrets.json"), Path::to_owned);
    found.extend(find_tracked_file(&secrets_file).map(|finding| (secrets_file.clone(), finding)));
    if let Some(config) = &config
        && (secrets.is_some() || secrets_file.is_file())
    {
        let checked = SecretsFile::read(&secrets_file)?.check(config);
        found.extend(checked.into_iter().map(|finding| (secrets_file.clone(), finding)));
    }
    let mut text = String::new();
    for (file, Finding { severity, line, problem: what, remedy }) in &found {
        writeln!(text, "{}:{line}: {}: {what}\n  → {remedy}", file.display(), severity_name(*severity))?;
    }
    if let Some(config) = &config {
        if arguments.list_secrets {
            list_secrets(config, folder, &mut text)?;
        }
        if arguments.list_forms {
            forms::list_forms(config, &mut text)?;
        }
        if !(arguments.list_secrets || arguments.list_forms) {
            point_to_lists(config, folder, &mut text)?;
        }
    }
    let count = |severity| found.iter().filter(|(_, finding)| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let summary = match &config {
        Some(config) => summarize_config(config),
        None => "the functions cannot load this file".to_owned(),
    };
    let (error_count, warning_count) = (format_count(errors, "error"), format_count(warnings, "warning"));
    writeln!(text, "{}: {error_count}, {warning_count} ({summary})", folder.display())?;
    Ok(CommandOutput { text, code: if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE } })
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Reports the files that are missing beside `client.toml`, and a folder with another name than the
/// client.
fn find_missing_files(folder: &Path, config: Option<&ClientConfig>) -> Vec<(PathBuf, Finding)> {
    let mut found = Vec::new();
    let mut missing = |file: &str, why: &str, remedy: &str| {
        let path = folder.join(file);
        if !path.is_file() {
            let (what, remedy) = (format!("{file} is missing: {why}"), remedy.to_owned());
            found.push((path, Finding { severity: Severity::Error, line: 1, problem: what, remedy }));
        }
    };
    missing(
        "decisions.md",
        "it records the client's requests that were refused, or granted with a risk",
        "create it; clients/demo/decisions.md is an example",
    );
    missing("Makefile", "`sam build` packages client.toml with it", "copy clients/demo/Makefile");
    let shown = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let own_name = shown.file_name().and_then(|name| name.to_str());
    if let (Some(config), Some(own_name)) = (config, own_name)
        && own_name != config.client
    {
        let finding = Finding {
            severity: Severity::Warning,
            line: 1,
            problem: format!("the folder is named `{own_name}`, the client `{}`", config.client),
            remedy: "give both the same name: the deployment uses both".to_owned(),
        };
        found.push((folder.join("client.toml"), finding));
    }
    found
}

/// Names the options that list secrets and forms.
fn point_to_lists(config: &ClientConfig, folder: &Path, text: &mut String) -> fmt::Result {
    let folder = folder.display();
    let secrets = format_count(list_needed_secrets(config).len(), "secret value");
    writeln!(text, "{secrets}: `tellonce check {folder} --list-secrets` prints the commands that store them")?;
    if !config.forms.is_empty() {
        let forms = format_count(config.forms.len(), "form");
        writeln!(text, "{forms}: `tellonce check {folder} --list-forms` shows where each fact of a lead is looked up")?;
    }
    Ok(())
}

/// Lists the secrets to create, and the commands that store them.
fn list_secrets(config: &ClientConfig, folder: &Path, text: &mut String) -> fmt::Result {
    let (client, folder) = (&config.client, folder.display());
    let put = |what: &str| format!("tellonce secrets put {what} --client {folder}");
    let how = match config.secrets {
        SecretLayout::Separate => "one for each value",
        SecretLayout::ByRole => "in one JSON object for each role",
    };
    writeln!(text, "\nSecrets of `{client}`, {how}.\n")?;
    for NeededSecret { name, description: what, .. } in list_needed_secrets(config) {
        writeln!(text, "  {name}\n    {what}")?;
    }
    writeln!(text, "\nTo store all of them for the first deployment, at a terminal or from a file of values:")?;
    writeln!(text, "  {} --before-deployment", put("--all"))?;
    writeln!(text, "To store one later: {}\n", put("NAME"))
}

fn summarize_config(config: &ClientConfig) -> String {
    let reminders = config.calendars.values().map(|calendar| calendar.reminders.len()).sum();
    let message_counts =
        [format_count(config.messages.len(), "message"), format_count(reminders, "reminder")].join(" and ");
    [
        format_count(config.lines.len(), "line"),
        format_count(config.stores.len(), "store"),
        format_count(config.calendars.len(), "calendar"),
        format_count(config.forms.len(), "form"),
        format_count(config.crms.len(), "CRM"),
        format_count(config.escalations.len(), "escalation"),
        format!("{message_counts} in {}", format_count(config.languages.len(), "language")),
    ]
    .join(", ")
}

fn format_count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
