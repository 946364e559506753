//! `tellonce status`, `tellonce waiting` and `tellonce needs`: how a stack is, what waits, and what
//! needs a person.

use std::fmt::{self, Write as _};

use serde::Serialize;
use tellonce_core::{client_config::ClientConfig, provider::PROVIDER_NAME};
use tellonce_ops::{LineOverview, MAX_LISTED, Needs, Overview, Wait};

use crate::{
    command_output::CommandOutput,
    people_time::PeopleTime,
    stack_arguments::{ConnectedStack, StackArguments},
};

#[derive(clap::Args)]
pub(crate) struct OverviewArguments {
    #[command(flatten)]
    stack: StackArguments,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    json: bool,
}

/// Which question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Status,
    Waiting,
    Needs,
}

/// Everything that `status` shows.
#[derive(Serialize)]
struct StackStatus {
    overview: Overview,
    needs: Needs,
}

pub(crate) fn answer_question(question: Question, arguments: &OverviewArguments) -> anyhow::Result<CommandOutput> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, config) = runtime.block_on(read_status(&arguments.stack))?;
    let text = match (question, arguments.json) {
        (Question::Status, true) => serde_json::to_string_pretty(&status)? + "\n",
        (Question::Waiting, true) => serde_json::to_string_pretty(&status.overview)? + "\n",
        (Question::Needs, true) => serde_json::to_string_pretty(&status.needs)? + "\n",
        (question, false) => render(question, &status, &config)?,
    };
    Ok(CommandOutput::from_text(text))
}

async fn read_status(arguments: &StackArguments) -> anyhow::Result<(StackStatus, ClientConfig)> {
    let ConnectedStack { stack, config } = arguments.connect().await?;
    let tables = stack.find_tables().await?;
    let overview = tables.read_overview(&config, stack.now()).await?;
    let needs = tables.read_needs(&overview).await?;
    Ok((StackStatus { overview, needs }, config))
}

fn render(question: Question, status: &StackStatus, config: &ClientConfig) -> anyhow::Result<String> {
    let time = PeopleTime::of_client(config)?;
    let mut text = format!("{}, {} ({})\n\n", config.client, time.format_minute(status.overview.at), time.name);
    match question {
        Question::Status => write_status(&mut text, status, &time)?,
        Question::Waiting => write_waiting(&mut text, &status.overview, &time)?,
        Question::Needs => write_needs(&mut text, &status.needs, &time)?,
    }
    Ok(text)
}

fn write_status(
    text: &mut String,
    StackStatus { overview, needs }: &StackStatus,
    time: &PeopleTime<'_>,
) -> fmt::Result {
    for line in &overview.lines {
        write_row(text, "line", &line.name, &describe_line(line, time), &describe_wait(&line.wait, time))?;
    }
    for queue in &overview.queues {
        let (kind, name) = queue.name.split_once(':').unwrap_or(("queue", &queue.name));
        let kind = if kind == "crm" { "CRM" } else { kind };
        let state = match (&queue.problem, queue.paused_until) {
            (Some(problem), Some(until)) => format!("paused until {}: {problem}", time.format_minute(until)),
            (Some(problem), None) => problem.clone(),
            (None, _) => "works".to_owned(),
        };
        write_row(text, kind, name, &state, &describe_wait(&queue.wait, time))?;
    }
    if overview.lookups.count > 0 {
        write_row(text, "lookups", "", "a sender's API cannot be asked", &describe_wait(&overview.lookups, time))?;
    }
    for form in &overview.forms {
        let state = form.held_since.map(|since| format!("holds its leads since {}", time.format_minute(since)));
        write_row(text, "form", &form.name, &state.unwrap_or_else(|| "greets".to_owned()), "")?;
    }
    for feed in &overview.feeds {
        let read = feed.read_at.map_or_else(|| "never".to_owned(), |at| time.format_minute(at));
        write_row(
            text,
            "feed",
            &feed.name,
            feed.problem.as_deref().unwrap_or("is read"),
            &format!("last read: {read}"),
        )?;
    }
    for part in &overview.parts {
        let answered = part.answered_at.map_or_else(|| "never".to_owned(), |at| time.format_minute(at));
        let state = if part.is_late { "DOES NOT ANSWER" } else { "answers" };
        write_row(text, "part", part.name, state, &format!("last answer: {answered}"))?;
    }
    match needs.list.len() + needs.more {
        0 => writeln!(text, "\nNothing needs you."),
        1 => writeln!(text, "\n1 thing needs you: tellonce needs"),
        count => writeln!(text, "\n{count} things need you: tellonce needs"),
    }
}

fn write_row(text: &mut String, kind: &str, name: &str, state: &str, then: &str) -> fmt::Result {
    let row = format!("{:<24} {state:<28}  {then}", format!("{kind} {name}"));
    writeln!(text, "{}", row.trim_end())
}

fn describe_line(line: &LineOverview, time: &PeopleTime<'_>) -> String {
    match (&line.stopped, &line.blocked, line.blocked_until) {
        _ if !line.is_configured => "client.toml no longer has it".to_owned(),
        (Some(why), ..) => format!("stopped: {why}"),
        (None, Some(blocked), Some(until)) => format!("{blocked}, until {}", time.format(until)),
        _ => "can send".to_owned(),
    }
}

fn describe_wait(wait: &Wait, time: &PeopleTime<'_>) -> String {
    let more = if wait.has_more { "more than " } else { "" };
    match (wait.count, wait.oldest_since) {
        (0, _) => "nothing waits".to_owned(),
        (count, None) => format!("{more}{count} {} for their time", if count == 1 { "waits" } else { "wait" }),
        (1, Some(since)) => format!("1 waits, since {}", time.format_minute(since)),
        (count, Some(since)) => format!("{more}{count} wait, the oldest since {}", time.format_minute(since)),
    }
}

fn write_waiting(text: &mut String, overview: &Overview, time: &PeopleTime<'_>) -> fmt::Result {
    let waiting: Vec<&LineOverview> = overview.lines.iter().filter(|line| line.wait.count > 0).collect();
    for line in &waiting {
        let state = describe_line(line, time);
        writeln!(text, "line {}: {state}; {}", line.name, describe_wait(&line.wait, time))?;
        for message in &line.messages {
            let why = message.steps.last().map(|step| step.explanation.as_str()).unwrap_or_default();
            let next = message.next_try.map(|at| format!("; next try {}", time.format(at))).unwrap_or_default();
            let to = message.to.as_deref().map(|to| format!(" to {to}")).unwrap_or_default();
            writeln!(text, "  {}{to}: {why}{next}", message.key)?;
        }
        if line.wait.count > MAX_LISTED {
            writeln!(text, "  … and {} more", line.wait.count - MAX_LISTED)?;
        }
        if let Some(out_by) = line.out_by {
            writeln!(text, "  All have gone by {} if the line can send now.", time.format(out_by))?;
        }
        writeln!(text)?;
    }
    let others =
        overview.queues.iter().filter(|queue| queue.wait.count > 0).map(|queue| (queue.name.as_str(), &queue.wait));
    let lookups = Some(("lookups", &overview.lookups)).filter(|(_, wait)| wait.count > 0);
    let others: Vec<_> = others.chain(lookups).collect();
    for (name, wait) in &others {
        let next = wait.next_try.map(|at| format!("; next try {}", time.format(at))).unwrap_or_default();
        writeln!(text, "{name}: {}{next}", describe_wait(wait, time))?;
    }
    if waiting.is_empty() && others.is_empty() {
        writeln!(text, "Nothing waits.")?;
    }
    Ok(())
}

fn write_needs(text: &mut String, needs: &Needs, time: &PeopleTime<'_>) -> fmt::Result {
    if needs.list.is_empty() {
        return writeln!(text, "Nothing needs you.");
    }
    for need in &needs.list {
        let to = need.to.as_deref().map(|to| format!(" to {to}")).unwrap_or_default();
        writeln!(text, "{}  {}{to}: {}.", time.format_minute(need.since), need.name, need.reason)?;
        writeln!(text, "  {}", need.action)?;
        if let Some(command) = &need.command {
            writeln!(text, "  tellonce {command}")?;
        }
    }
    if needs.more > 0 {
        writeln!(text, "… and {} more", needs.more)?;
    }
    writeln!(
        text,
        "\nMessages that a person wrote in {PROVIDER_NAME} are not known here: say `done` when it is settled."
    )
}
