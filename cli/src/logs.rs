//! `tellonce logs` and `tellonce tail`: the log lines of a stack, in the order of their times.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Write as _},
    time::Duration,
};

use clap::builder::NonEmptyStringValueParser;
use jiff::civil::Date;
use serde_json::Value;
use tellonce_ops::{API_LOG, FUNCTIONS, FunctionLogLine, LogFollower, LogRequest};

use crate::{
    command_output::CommandOutput,
    people_time::PeopleTime,
    stack_arguments::{ConnectedStack, StackArguments, block_on},
};

/// CloudWatch allows an account ten searches a second in most regions. This takes one or two.
const ACCOUNT_PAUSE: Duration = Duration::from_secs(4);
const LOCAL_PAUSE: Duration = Duration::from_millis(500);
/// The members of a line that its text or its columns have already.
const SHOWN_FIELDS: [&str; 5] = ["timestamp", "level", "message", "target", "_aws"];

/// Which lines are shown.
#[derive(clap::Args)]
struct LineFilter {
    /// Only lines that contain this text: order:1001, the id of a delivery, a line's name.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    text: Option<String>,
    /// Only this log: a function, or `api` for the requests that API Gateway answered. May be
    /// repeated. Default: all functions.
    #[arg(long, value_name = "NAME", value_parser = parse_log_name)]
    log: Vec<String>,
    /// Only warnings, errors, what needs a person, invocations that failed, and requests that were
    /// answered 4xx or 5xx.
    #[arg(long)]
    problems: bool,
    /// Print a JSON object for each line, with times in UTC and all fields.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackArguments,
}

#[derive(clap::Args)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    filter: LineFilter,
    /// Lines since this time: 2h, 2026-11-29T10:00 in the client's zone, 2026-11-29T10:00:00Z.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: String,
    /// Lines before this time. Default: now.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct TailArguments {
    #[command(flatten)]
    filter: LineFilter,
}

impl LineFilter {
    fn build_request(&self) -> LogRequest {
        let all = || FUNCTIONS.map(str::to_owned).to_vec();
        LogRequest {
            logs: if self.log.is_empty() { all() } else { self.log.clone() },
            text: self.text.clone(),
            only_problems: self.problems,
        }
    }
}

fn parse_log_name(name: &str) -> Result<String, String> {
    if name == API_LOG || FUNCTIONS.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("known are {} and {API_LOG}", FUNCTIONS.join(", ")))
}

/// Prints the lines of a time.
pub(crate) fn print_lines(arguments: &LogsArguments) -> anyhow::Result<CommandOutput> {
    block_on(async {
        let filter = &arguments.filter;
        let ConnectedStack { stack, config, .. } = filter.stack.connect().await?;
        let time = PeopleTime::of_client(&config)?;
        let now = stack.now();
        let since = time.parse(&arguments.since, now)?;
        let until = arguments.until.as_deref().map(|until| time.parse(until, now)).transpose()?;
        let found = stack.read_log_lines(&filter.build_request(), since, until).await?;
        let mut printer = LinePrinter { time: &time, is_json: filter.json, day: None };
        let mut text = found.lines.iter().try_fold(String::new(), |mut text, line| {
            printer.write_line(&mut text, line)?;
            anyhow::Ok(text)
        })?;
        if let Some(until) = found.complete_until {
            eprintln!("These are all lines until {}. Go on with --since {until}.", time.format(until));
        }
        for log in &found.unsearched {
            eprintln!(
                "The log {log} is long and was not searched to its end. Name it with --log, and a later --since."
            );
        }
        let is_whole = found.complete_until.is_none() && found.unsearched.is_empty();
        if found.lines.is_empty() && is_whole && !filter.json {
            writeln!(text, "No such lines since {}.", time.format(since))?;
        }
        anyhow::Ok(CommandOutput::from_text(text))
    })?
}

/// Prints lines as they are written, until it is interrupted.
pub(crate) fn follow_lines(arguments: &TailArguments) -> anyhow::Result<CommandOutput> {
    block_on(async {
        let filter = &arguments.filter;
        let ConnectedStack { stack, config, .. } = filter.stack.connect().await?;
        let time = PeopleTime::of_client(&config)?;
        let pause = if stack.is_local() { LOCAL_PAUSE } else { ACCOUNT_PAUSE };
        let mut printer = LinePrinter { time: &time, is_json: filter.json, day: None };
        let mut follower = LogFollower::new(filter.build_request(), stack.now());
        let mut lines = follower.read_new_lines(&stack).await?;
        eprintln!("Following the log of {}. Press Ctrl-C to end.", config.client);
        loop {
            let mut text = String::new();
            for line in &lines {
                printer.write_line(&mut text, line)?;
            }
            let mut output = std::io::stdout().lock();
            match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
                // A reader that stops early (`| head`) is not an error.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                written => written?,
            }
            drop(output);
            tokio::time::sleep(pause).await;
            lines = match follower.read_new_lines(&stack).await {
                Ok(lines) => lines,
                // The next round asks for the same time again.
                Err(error) => {
                    eprintln!("warning: {:#}", anyhow::Error::from(error));
                    Vec::new()
                }
            };
        }
        anyhow::Ok(CommandOutput::from_text(String::new()))
    })?
}

/// Writes lines, and the day before the first line of each day.
struct LinePrinter<'a> {
    time: &'a PeopleTime<'a>,
    is_json: bool,
    day: Option<Date>,
}

impl LinePrinter<'_> {
    fn write_line(&mut self, text: &mut String, line: &FunctionLogLine) -> anyhow::Result<()> {
        if self.is_json {
            writeln!(text, "{}", serde_json::to_string(line)?)?;
            return Ok(());
        }
        let at = line.at.to_zoned(self.time.zone.clone());
        if self.day.replace(at.date()) != Some(at.date()) {
            writeln!(text, "{} ({})", at.strftime("%a %d %b %Y"), self.time.name)?;
        }
        let level = line.level.as_deref().unwrap_or("");
        let fields = list_other_fields(line);
        writeln!(text, "{}  {:<18} {level:<5} {}{fields}", at.strftime("%H:%M:%S"), line.function, line.message)?;
        Ok(())
    }
}

/// The fields whose values the text does not have.
fn list_other_fields(line: &FunctionLogLine) -> String {
    // Lambda's own lines and those of the API are worded from their fields.
    if line.level.is_none() {
        return String::new();
    }
    let others = line.fields.iter().filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        let is_shown = SHOWN_FIELDS.contains(&name.as_str()) || line.message.contains(&value);
        (!is_shown).then(|| format!("  {name}={value}"))
    });
    others.collect()
}
