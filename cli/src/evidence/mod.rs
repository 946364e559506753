//! `tellonce evidence`: what a stack shows of the provider's handover table, as signed documents.
//!
//! Flow: `stack.read_evidence` reads and judges the stack; `client_files` adds what the client's
//! folder shows; `document` renders it; `statement` signs it with a `signing_key`.

mod client_files;
mod document;
mod signing_key;
mod statement;

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tellonce_ops::{
    ClientStack, CommandOutcome, CommandRunner, EvidenceArea, EvidenceResult, OperatorCommand, ScanCost, StackEvidence,
};

use crate::{
    command_output::CommandOutput,
    confirmation::confirm,
    operator::{ActionArguments, ReasonArguments, render_plan},
    people_time::PeopleTime,
    phone_file::read_phone,
    stack_arguments::{ConnectedStack, block_on},
};
use document::EvidenceDocument;
use signing_key::{SigningKey, VerifyingKey};
use statement::{Predicate, STATEMENT_FILE, sign_files, verify_folder};

/// How long the report of the line on the message of a test is awaited.
const REPORT_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct EvidenceArguments {
    #[command(subcommand)]
    command: Option<EvidenceCommand>,
    /// The folder that is made for the documents.
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// The agency's private key, which `tellonce evidence key` makes.
    #[arg(long, value_name = "FILE", required = true)]
    key: Option<PathBuf>,
    /// Send one message twice under one key first, to a number of the agency's.
    #[arg(long, requires = "phone_file")]
    live_test: bool,
    /// The file with that number, such as +972545550199, or - for standard input.
    #[arg(long, value_name = "FILE", requires = "live_test")]
    phone_file: Option<PathBuf>,
    /// The line that is tested. Required if the client has several.
    #[arg(long, value_name = "NAME", requires = "live_test")]
    line: Option<String>,
    #[command(flatten)]
    reason: ReasonArguments,
    #[command(flatten)]
    action: ActionArguments,
}

#[derive(clap::Subcommand)]
enum EvidenceCommand {
    /// Makes a key for signatures: a private one in this file, and the public one beside it.
    Key {
        /// The new file, outside of every repository.
        file: PathBuf,
    },
    /// Verifies the documents of a folder. Works offline.
    Verify {
        /// The folder.
        folder: PathBuf,
        /// The agency's public key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

pub(crate) fn run_command(arguments: &EvidenceArguments) -> anyhow::Result<CommandOutput> {
    match &arguments.command {
        Some(EvidenceCommand::Key { file }) => make_key(file),
        Some(EvidenceCommand::Verify { folder, key }) => verify(folder, key),
        None => block_on(make_evidence(arguments))?,
    }
}

fn make_key(file: &Path) -> anyhow::Result<CommandOutput> {
    let (key, public) = SigningKey::create(file)?;
    Ok(CommandOutput::from_text(format!(
        "Made {}, which only you may read, and {}.\nThe id of the key is {}.\nGive the client the public key, by another \
         way than the documents.\n",
        file.display(),
        public.display(),
        key.id()
    )))
}

fn verify(folder: &Path, key: &Path) -> anyhow::Result<CommandOutput> {
    let key = VerifyingKey::read(key)?;
    let (predicate, names) = verify_folder(folder, &key)?;
    let mut text = format!(
        "Verified: {} are as they were signed with the key {}.\nEvidence of `{}`, made {} by tellonce {}.\n",
        names.join(", "),
        key.id(),
        predicate.client,
        predicate.made_at,
        predicate.tellonce
    );
    for (area, result) in &predicate.results {
        writeln!(text, "  {area:<12} {result}")?;
    }
    Ok(CommandOutput::from_text(text))
}

async fn make_evidence(arguments: &EvidenceArguments) -> anyhow::Result<CommandOutput> {
    let (Some(out), Some(key)) = (&arguments.out, &arguments.key) else { bail!("name --out and --key") };
    // First, so that no message is sent for documents that cannot be made.
    let key = SigningKey::read(key)?;
    prepare_folder(out)?;
    let connected = arguments.action.stack.connect().await?;
    let time = PeopleTime::of_client(&connected.config)?;
    if arguments.live_test {
        test_line(arguments, &connected, &time).await?;
    }
    let ConnectedStack { stack, config, folder } = &connected;
    let evidence = stack.find_tables().await?.read_evidence(stack, config, &show_progress).await?;
    let document = EvidenceDocument {
        client: config.client.clone(),
        name: config.name.clone(),
        made_at: evidence.at,
        tellonce: env!("CARGO_PKG_VERSION"),
        is_account: !stack.is_local(),
        commit: client_files::find_commit(folder),
        ledger: evidence.ledger,
        line_events: evidence.line_events,
        areas: add_client_files(evidence, folder),
    };
    let [html, markdown] = document.render(&time, &key.id())?;
    let json = serde_json::to_string_pretty(&document)? + "\n";
    let files = [("evidence.html", &*html), ("evidence.md", &*markdown), ("evidence.json", &*json)];
    let results = document.areas.iter().map(|area| (area.name.to_owned(), area.result.name().to_owned()));
    let predicate = Predicate {
        client: document.client.clone(),
        made_at: document.made_at.to_string(),
        tellonce: document.tellonce.to_owned(),
        results: results.collect(),
    };
    let statement = sign_files(&files, predicate, &key)?;
    for (name, content) in files.into_iter().chain([(STATEMENT_FILE, &*statement)]) {
        let file = out.join(name);
        std::fs::write(&file, content).with_context(|| format!("could not write {}", file.display()))?;
    }
    let has_failed = document.areas.iter().any(|area| area.result == EvidenceResult::Failed);
    let text = if arguments.action.json { json } else { summarize(&document.areas, out)? };
    Ok(CommandOutput { text, code: if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS } })
}

/// Makes the folder of the documents, and tries that files can be made in it.
fn prepare_folder(out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("could not make the folder {}", out.display()))?;
    let mut entries = out.read_dir().with_context(|| format!("could not read the folder {}", out.display()))?;
    if entries.next().is_some() {
        bail!("{} is not empty; evidence is never overwritten, so choose a new folder", out.display());
    }
    let trial = out.join(STATEMENT_FILE);
    std::fs::File::create_new(&trial)
        .and_then(|_| std::fs::remove_file(&trial))
        .with_context(|| format!("could not make a file in {}", out.display()))
}

fn add_client_files(evidence: StackEvidence, folder: &Path) -> Vec<EvidenceArea> {
    let add = |area: EvidenceArea| match area.name {
        EvidenceArea::AUTH => area.with_checks(client_files::check_tracked_secrets(folder)),
        EvidenceArea::BOUNDARY => area.with_checks(client_files::check_decisions(folder)),
        _ => area,
    };
    evidence.areas.into_iter().map(add).collect()
}

fn summarize(areas: &[EvidenceArea], out: &Path) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for area in areas {
        writeln!(text, "{:<12} {}", area.name, area.result.name())?;
        for check in area.checks.iter().filter(|check| check.result != EvidenceResult::Passed) {
            writeln!(text, "  {}: {}: {}", check.result.name(), check.checked, check.seen)?;
        }
    }
    writeln!(text, "\n{} has evidence.html, evidence.md, evidence.json and {STATEMENT_FILE}.", out.display())?;
    Ok(text)
}

/// Shows the plan of a test, asks, makes it, and waits for the line's report of its message.
async fn test_line(
    arguments: &EvidenceArguments,
    connected: &ConnectedStack,
    time: &PeopleTime<'_>,
) -> anyhow::Result<()> {
    let ConnectedStack { stack, config, .. } = connected;
    let mut lines = config.lines.keys();
    let line = match (&arguments.line, lines.next(), lines.next()) {
        (Some(line), ..) => line.clone(),
        (None, Some(only), None) => only.clone(),
        _ => bail!("the client has several lines; choose one with --line"),
    };
    let phone = read_phone(arguments.phone_file.as_deref().context("name --phone-file")?)?;
    let runner = CommandRunner::connect(stack, config, |_| {}).await?;
    let plan = runner.plan(OperatorCommand::TestLine { line: line.clone(), phone }).await?;
    let because = arguments.reason.because.as_deref();
    let mut screen = std::io::stderr();
    screen.write_all(render_plan(&plan, because, runner.who(), time)?.as_bytes())?;
    confirm("Do this?", arguments.action.yes)?;
    let outcome = runner.run(&plan, because).await?;
    writeln!(screen, "Done: {outcome}.")?;
    match outcome {
        CommandOutcome::LineTested(test) if test.second.is_some() && config.lines[&line].events => {
            await_report(stack, &test.key).await
        }
        _ => Ok(()),
    }
}

async fn await_report(stack: &ClientStack, key: &str) -> anyhow::Result<()> {
    let tables = stack.find_tables().await?;
    let begin = std::time::Instant::now();
    while begin.elapsed() < REPORT_PATIENCE {
        let report = tables.explain(key).await?;
        if report.messages.iter().any(|message| message.delivery_status.is_some()) {
            break;
        }
        tokio::time::sleep(REPORT_PAUSE).await;
    }
    Ok(())
}

fn show_progress(cost: ScanCost) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let ScanCost { rows, read_units } = cost;
        // A screen that is gone stops no command.
        writeln!(screen, "{rows} rows read, for {read_units:.1} read units").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_take_the_documents_is_found_first() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("made/here");
        prepare_folder(&out).unwrap();
        prepare_folder(&out).unwrap();
        std::fs::write(out.join("evidence.md"), "").unwrap();
        assert!(prepare_folder(&out).unwrap_err().to_string().contains("is not empty"));
        let error = prepare_folder(&out.join("evidence.md")).unwrap_err().to_string();
        assert!(error.contains("could not make the folder"), "{error}");
    }
}
