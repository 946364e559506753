//! `tellonce status`, `tellonce waiting` and `tellonce needs`: how a stack is, what waits, and what
//! needs a person.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde::Serialize;
use serde_json::json;
use tellonce_core::{client_config::ClientConfig, provider::PROVIDER_NAME};
use tellonce_ops::{LineOverview, MAX_LISTED, Needs, Overview, Today, Wait};

use crate::{
    command_output::CommandOutput,
    explain::{Answer, describe_version},
    people_time::PeopleTime,
    stack_arguments::{ConnectedStack, StackArguments, block_on},
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
    /// Read for `status` alone.
    today: Option<Today>,
    overview: Overview,
    /// Not read for `waiting`.
    needs: Needs,
}

pub(crate) fn answer_question(question: Question, arguments: &OverviewArguments) -> anyhow::Result<CommandOutput> {
    let answer = block_on(answer(question, &arguments.stack))??;
    let text = if arguments.json { serde_json::to_string_pretty(&answer.report)? + "\n" } else { answer.text };
    Ok(CommandOutput::from_text(text))
}

/// The answer to a question.
pub(crate) async fn answer(question: Question, arguments: &StackArguments) -> anyhow::Result<Answer> {
    let (status, config) = read_status(question, arguments).await?;
    let report = match question {
        Question::Status => serde_json::to_value(&status)?,
        Question::Waiting => serde_json::to_value(&status.overview)?,
        Question::Needs => serde_json::to_value(&status.needs)?,
    };
    Ok(Answer { text: render(question, &status, &config)?, report })
}

/// A line, or all of them: whether it can send, and what waits for it.
pub(crate) async fn answer_line(arguments: &StackArguments, name: Option<&str>) -> anyhow::Result<Answer> {
    let (StackStatus { overview, .. }, config) = read_status(Question::Waiting, arguments).await?;
    let known = overview.lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>().join(", ");
    let is_asked = |line: &LineOverview| name.is_none_or(|name| line.name == name);
    let lines: Vec<LineOverview> = overview.lines.into_iter().filter(is_asked).collect();
    if let (Some(name), []) = (name, lines.as_slice()) {
        anyhow::bail!("`{name}` is not a line of this client; known are: {known}");
    }
    let time = PeopleTime::of_client(&config)?;
    let mut text = String::new();
    for line in &lines {
        write_line(&mut text, line, &time)?;
    }
    Ok(Answer { text, report: json!({ "lines": lines }) })
}

async fn read_status(question: Question, arguments: &StackArguments) -> anyhow::Result<(StackStatus, ClientConfig)> {
    let ConnectedStack { stack, config, .. } = arguments.connect().await?;
    let tables = stack.find_tables().await?;
    let overview = tables.read_overview(&config, stack.now()).await?;
    let needs = match question {
        Question::Waiting => Needs { list: Vec::new(), more: 0 },
        Question::Status | Question::Needs => tables.read_needs(&overview).await?,
    };
    let today = if question == Question::Status { Some(stack.read_today(&config).await) } else { None };
    Ok((StackStatus { today, overview, needs }, config))
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
    StackStatus { today, overview, needs }: &StackStatus,
    time: &PeopleTime<'_>,
) -> fmt::Result {
    for line in &overview.lines {
        write_row(text, "line", &line.name, &describe_line(line, time), &describe_wait(&line.wait, time))?;
    }
    let (busy, idle): (Vec<_>, Vec<_>) =
        overview.queues.iter().partition(|queue| queue.problem.is_some() || queue.wait.count + queue.refused > 0);
    for queue in busy {
        let (kind, name) = queue.name.split_once(':').unwrap_or(("queue", &queue.name));
        let kind = if kind == "crm" { "CRM" } else { kind };
        let state = match (&queue.problem, queue.paused_until) {
            (Some(problem), Some(until)) => format!("paused until {}: {problem}", time.format_minute(until)),
            (Some(problem), None) => problem.clone(),
            (None, _) => "works".to_owned(),
        };
        let refused = if queue.refused > 0 { format!("; refused {} for good", queue.refused) } else { String::new() };
        write_row(text, kind, name, &state, &(describe_wait(&queue.wait, time) + &refused))?;
    }
    write_idle(text, "CRMs and targets", &idle, ["works; nothing waits", "work; nothing waits"])?;
    if overview.lookups.count > 0 {
        write_row(text, "lookups", "", "a sender's API cannot be asked", &describe_wait(&overview.lookups, time))?;
    }
    let (held, greeting): (Vec<_>, Vec<_>) = overview.forms.iter().partition(|form| form.held_since.is_some());
    for form in held {
        let since = form.held_since.map(|since| time.format_minute(since)).unwrap_or_default();
        write_row(text, "form", &form.name, &format!("holds its leads since {since}"), "")?;
    }
    write_idle(text, "forms", &greeting, ["greets", "greet"])?;
    for feed in &overview.feeds {
        let state = feed.problem.as_deref().unwrap_or(if feed.read_at.is_some() { "is read" } else { "not read yet" });
        let read = feed.read_at.map(|at| format!("last read: {}", time.format_minute(at))).unwrap_or_default();
        write_row(text, "feed", &feed.name, state, &read)?;
    }
    let (late, answering): (Vec<_>, Vec<_>) = overview.parts.iter().partition(|part| part.is_late);
    for part in late {
        let answered = part.answered_at.map_or_else(|| "never".to_owned(), |at| time.format_minute(at));
        write_row(text, "part", part.name, "DOES NOT ANSWER", &format!("last answer: {answered}"))?;
    }
    let (answered, starting): (Vec<_>, Vec<_>) = answering.into_iter().partition(|part| part.answered_at.is_some());
    write_idle(text, "parts", &answered, ["answers", "answer"])?;
    write_idle(text, "parts", &starting, ["was not asked yet", "were not asked yet"])?;
    write_versions(text, overview)?;
    if let Some(today) = today {
        write_today(text, today, time)?;
    }
    match needs.list.len() + needs.more {
        0 => writeln!(text, "\nNothing needs you."),
        1 => writeln!(text, "\n1 thing needs you: tellonce needs"),
        count => writeln!(text, "\n{count} things need you: tellonce needs"),
    }
}

fn write_today(text: &mut String, today: &Today, time: &PeopleTime<'_>) -> fmt::Result {
    let figure = |figure: Option<u64>| figure.map_or_else(|| "?".to_owned(), |figure| figure.to_string());
    let Today { sent, arrived, failed, repeats, refused, .. } = today;
    let [sent, arrived, failed] = [sent, arrived, failed].map(|it| figure(*it));
    let failed = if today.failed_has_more { format!("at least {failed}") } else { failed };
    let deliveries = format!("repeats recognised: {}, deliveries refused: {}", figure(*repeats), figure(*refused));
    write_row(text, "today", "", &format!("{sent} sent, {arrived} arrived, {failed} failed"), &deliveries)?;
    for refused in &today.refusals {
        let newest = refused
            .newest
            .first()
            .map(|last| format!("last {} with {}: {}", time.format_minute(last.at), last.http_status, last.reason));
        let number = format!("{}{}×", if refused.has_more { "at least " } else { "" }, refused.count);
        write_row(text, "refused", refused.name(), &number, &newest.unwrap_or_default())?;
    }
    for alarm in &today.alarms {
        let since = alarm.since.map(|since| format!("since {}", time.format_minute(since))).unwrap_or_default();
        write_row(text, "alarm", &alarm.name, "ALARM", &since)?;
    }
    for problem in &today.unreadable {
        writeln!(text, "Not read: {problem}")?;
    }
    Ok(())
}

/// The version that runs. If a deployment did not reach all parts, the parts of each version.
fn write_versions(text: &mut String, overview: &Overview) -> fmt::Result {
    let mut parts_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for part in &overview.parts {
        if let Some(version) = &part.version {
            parts_of.entry(version).or_default().push(part.name);
        }
    }
    let differ = parts_of.len() > 1;
    for (version, parts) in parts_of {
        let of_parts = if differ { parts.join(", ") } else { String::new() };
        write_row(text, "version", "", &describe_version(version), &of_parts)?;
    }
    Ok(())
}

/// One row for everything of a kind of which there is nothing to say.
fn write_idle<T>(text: &mut String, kind: &str, idle: &[T], [one, many]: [&str; 2]) -> fmt::Result {
    match idle.len() {
        0 => Ok(()),
        1 => write_row(text, kind, "", &format!("1 {one}"), ""),
        count => write_row(text, kind, "", &format!("{count} {many}"), ""),
    }
}

fn write_row(text: &mut String, kind: &str, name: &str, state: &str, then: &str) -> fmt::Result {
    let (name, comma) = (format!("{kind} {name}"), if then.is_empty() { "" } else { "; " });
    writeln!(text, "{:<30} {state}{comma}{then}", name.trim_end())
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

/// A line, with the messages that it tries first.
fn write_line(text: &mut String, line: &LineOverview, time: &PeopleTime<'_>) -> fmt::Result {
    writeln!(text, "line {}: {}; {}", line.name, describe_line(line, time), describe_wait(&line.wait, time))?;
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
    Ok(())
}

fn write_waiting(text: &mut String, overview: &Overview, time: &PeopleTime<'_>) -> fmt::Result {
    let waiting: Vec<&LineOverview> = overview.lines.iter().filter(|line| line.wait.count > 0).collect();
    for line in &waiting {
        write_line(text, line, time)?;
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
        if let Some(deadline) = need.deadline {
            writeln!(text, "  Until {} at the latest.", time.format_minute(deadline))?;
        }
        writeln!(text, "  {}", need.action)?;
        if let Some(command) = &need.command {
            writeln!(text, "  tellonce {command}")?;
        }
    }
    if needs.more > 0 {
        writeln!(text, "… and {} more", needs.more)?;
    }
    let may_be_settled = needs.list.iter().any(|need| need.command.as_ref().is_some_and(|it| it.starts_with("done ")));
    if may_be_settled {
        writeln!(
            text,
            "\ntellonce does not see what a person wrote in {PROVIDER_NAME}: `done` says that it is settled."
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp, tz::TimeZone};
    use tellonce_ops::{
        FeedOverview, FormOverview, MessageReport, Need, PartOverview, QueueOverview, RaisedAlarm, Refusal,
        SenderRefusals, Standing,
    };

    use super::*;
    use crate::explain::samples::{message, step};

    fn at(text: &str) -> Timestamp {
        format!("2026-11-29T{text}Z").parse().unwrap()
    }

    fn waiting_message() -> MessageReport {
        let why = "the line could not send (QR); check the line in EZWhatsApp";
        let step = step("2026-11-29T09:10:00Z", "waits", why);
        MessageReport {
            useful_until: at("18:00:00"),
            next_try: Some(at("10:12:00")),
            ..message("order:1001:ready", Standing::Waiting, vec![step])
        }
    }

    fn idle_queue(name: &str) -> QueueOverview {
        QueueOverview { name: name.to_owned(), problem: None, refused: 0, paused_until: None, wait: Wait::default() }
    }

    fn busy_overview() -> Overview {
        let wait = |count, since: &str, next: &str| Wait {
            count,
            has_more: false,
            oldest_since: Some(at(since)),
            next_try: Some(at(next)),
        };
        let line = LineOverview {
            name: "main".to_owned(),
            is_configured: true,
            stopped: None,
            blocked: Some("the line could not send (QR)".to_owned()),
            is_token_refused: false,
            blocked_until: Some(at("10:12:00")),
            wait: wait(12, "09:10:00", "10:12:00"),
            out_by: Some(at("10:01:00")),
            messages: vec![waiting_message()],
        };
        let sales = QueueOverview {
            problem: Some("credential rejected (HTTP 401); store a valid one in tellonce/acme/crms".to_owned()),
            paused_until: Some(at("10:06:00")),
            refused: 2,
            wait: wait(3, "09:50:00", "10:06:00"),
            ..idle_queue("crm:sales")
        };
        let part = |name, answered: Option<&str>, is_late| PartOverview {
            name,
            answered_at: answered.map(at),
            is_late,
            version: answered
                .map(|_| if is_late { "0f9e8d7c6b5a-89abcdef" } else { "1a2b3c4d5e6f-89abcdef" }.to_owned()),
        };
        Overview {
            at: at("10:00:00"),
            lines: vec![line],
            queues: vec![sales, idle_queue("target:team")],
            lookups: Wait::default(),
            forms: vec![
                FormOverview { name: "contact".to_owned(), held_since: Some(at("08:00:00")) },
                FormOverview { name: "site".to_owned(), held_since: None },
            ],
            feeds: vec![FeedOverview { name: "diary".to_owned(), read_at: None, problem: None, is_suspect: false }],
            parts: vec![
                part("store-inbox", Some("09:58:00"), false),
                part("lead-inbox", None, false),
                part("conversation-sync-minute", Some("09:20:00"), true),
            ],
        }
    }

    fn quiet_overview() -> Overview {
        let mut overview = busy_overview();
        let line = overview.lines.remove(0);
        overview.lines.push(LineOverview { blocked: None, wait: Wait::default(), messages: vec![], ..line });
        overview.queues = vec![idle_queue("crm:sales")];
        overview.parts.clear();
        overview
    }

    fn some_today() -> Today {
        let refusal = Refusal {
            at: at("09:20:00"),
            http_status: 401,
            reason: "the header x-shopify-hmac-sha256 is missing".to_owned(),
        };
        Today {
            since: at("00:00:00"),
            sent: Some(12),
            arrived: Some(10),
            failed: Some(1),
            failed_has_more: true,
            repeats: Some(3),
            refused: Some(4),
            refusals: vec![SenderRefusals {
                sender: Some("shop".to_owned()),
                count: 4,
                has_more: true,
                newest: vec![refusal],
            }],
            alarms: vec![RaisedAlarm { name: "messages-waiting".to_owned(), since: Some(at("09:25:00")) }],
            unreadable: vec!["the log of the function tellonce-acme-conversation-sync could not be read".to_owned()],
        }
    }

    fn some_needs() -> Needs {
        let unknown = Need {
            since: at("07:00:00"),
            name: "order:1:ready".to_owned(),
            to: Some("+972…0199".to_owned()),
            deadline: None,
            reason: "no retry had a response".to_owned(),
            action: "Look into the conversation in EZWhatsApp. If the message is not there, write it.".to_owned(),
            command: Some("done order:1:ready".to_owned()),
        };
        let part = Need {
            since: at("09:20:00"),
            name: "part conversation-sync-minute".to_owned(),
            to: None,
            deadline: None,
            reason: "it does not answer heartbeats".to_owned(),
            action: "See \"A part does not run\" in docs/operations.md.".to_owned(),
            command: None,
        };
        let request = Need {
            since: at("08:00:00"),
            name: "shop#b54557e4".to_owned(),
            to: None,
            deadline: Some(at("08:00:00") + SignedDuration::from_hours(30 * 24)),
            reason: "customers/redact: privacy request: erase a customer (privacy-request)".to_owned(),
            action: "Run `tellonce person forget` for the customer's number.".to_owned(),
            command: Some("done shop#b54557e4".to_owned()),
        };
        Needs { list: vec![unknown, request, part], more: 4 }
    }

    #[test]
    fn a_stack_is_shown_with_what_is_wrong_first_and_what_works_in_one_row_of_a_kind() {
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let mut text = String::new();
        let status = StackStatus { today: Some(some_today()), overview: busy_overview(), needs: some_needs() };
        for write in ["status", "waiting", "needs"] {
            writeln!(text, "$ tellonce {write}").unwrap();
            match write {
                "status" => write_status(&mut text, &status, &time),
                "waiting" => write_waiting(&mut text, &status.overview, &time),
                _ => write_needs(&mut text, &status.needs, &time),
            }
            .unwrap();
            text.push('\n');
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_stack_without_trouble_says_so() {
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let (overview, needs) = (quiet_overview(), Needs { list: vec![], more: 0 });
        let mut text = String::new();
        write_waiting(&mut text, &overview, &time).unwrap();
        write_needs(&mut text, &needs, &time).unwrap();
        write_status(&mut text, &StackStatus { today: None, overview, needs }, &time).unwrap();
        insta::assert_snapshot!(text);
    }
}
