//! `tellonce report`: what became of the messages of one month, for the client, in the client's
//! language.

mod labels;

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::{Timestamp, ToSpan as _, civil::Date};
use minijinja::{
    Environment,
    value::{Serde, Value},
};
use serde::Serialize;
use tellonce_core::{client_config::ClientConfig, wording::format_month};
use tellonce_ops::{KindCounts, MessageKind, MonthReport, ScanCost, WaitReason};

use crate::{
    command_output::CommandOutput,
    people_time::PeopleTime,
    stack_arguments::{ConnectedStack, StackArguments, block_on},
};
use labels::Labels;

#[derive(clap::Args)]
pub(crate) struct ReportArguments {
    /// The month, such as 2026-11, in the client's zone.
    #[arg(long, value_name = "YYYY-MM", value_parser = parse_month)]
    month: Date,
    /// The language, such as he. Without it, the first one of the client.
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// The folder for the report as HTML and Markdown. Without it, Markdown is printed.
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    out: Option<PathBuf>,
    #[command(flatten)]
    stack: StackArguments,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    json: bool,
}

/// A report, and the settings that it is written by.
struct PageContext<'a> {
    report: &'a MonthReport,
    config: &'a ClientConfig,
    time: PeopleTime<'a>,
    labels: &'static Labels,
    month: Date,
}

/// The values of the templates.
#[derive(Serialize)]
struct Page<'a> {
    language: &'a str,
    direction: &'a str,
    name: &'a str,
    month: String,
    time_zone: &'a str,
    is_running: bool,
    labels: &'a Labels,
    figures: Vec<Figure>,
    tables: Vec<PageTable>,
}

#[derive(Serialize)]
struct Figure {
    label: &'static str,
    value: usize,
}

#[derive(Serialize)]
struct PageTable {
    title: &'static str,
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// The first day of a month.
fn parse_month(text: &str) -> Result<Date, String> {
    let parts = text.split_once('-').filter(|(year, month)| (year.len(), month.len()) == (4, 2));
    let date = parts.and_then(|(year, month)| Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok());
    date.ok_or_else(|| format!("`{text}` is not a month; write it like 2026-11"))
}

pub(crate) fn report_month(arguments: &ReportArguments) -> anyhow::Result<CommandOutput> {
    let (report, config) = block_on(read_month(arguments))??;
    if arguments.json {
        return Ok(CommandOutput::from_text(serde_json::to_string_pretty(&report)? + "\n"));
    }
    let language = arguments.language.as_deref().unwrap_or_else(|| config.language_for(None));
    let context = PageContext {
        report: &report,
        config: &config,
        time: PeopleTime::of_client(&config)?,
        labels: Labels::of_language(language),
        month: arguments.month,
    };
    let [html, markdown] = context.render()?;
    let Some(out) = &arguments.out else { return Ok(CommandOutput::from_text(markdown)) };
    std::fs::create_dir_all(out).with_context(|| format!("could not make the folder {}", out.display()))?;
    let name = format!("report-{}-{}", config.client, arguments.month.strftime("%Y-%m"));
    let write = |ending: &str, text: &str| -> anyhow::Result<PathBuf> {
        let file = out.join(format!("{name}.{ending}"));
        std::fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        Ok(file)
    };
    let (html, markdown) = (write("html", &html)?, write("md", &markdown)?);
    Ok(CommandOutput::from_text(describe_files(&html, &markdown, &report.cost)))
}

fn describe_files(html: &Path, markdown: &Path, cost: &ScanCost) -> String {
    let ScanCost { rows, read_units } = cost;
    format!(
        "Wrote {} and {}.\n{rows} rows were read, for {read_units:.1} read units.\n",
        html.display(),
        markdown.display()
    )
}

async fn read_month(arguments: &ReportArguments) -> anyhow::Result<(MonthReport, ClientConfig)> {
    let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
    let zone = PeopleTime::of_client(&config)?.zone;
    let begin = |month: Date| -> anyhow::Result<Timestamp> { Ok(month.to_zoned(zone.clone())?.timestamp()) };
    let (from, until) = (begin(arguments.month)?, begin(arguments.month.checked_add(1.month())?)?);
    let tables = stack.find_tables().await?;
    let report = tables.read_month(from, until, stack.now(), &show_progress).await?;
    Ok((report, config))
}

fn show_progress(cost: ScanCost) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        // A screen that is gone stops no command.
        writeln!(screen, "{} rows read, for {:.1} read units", cost.rows, cost.read_units).unwrap_or_default();
    }
}

impl PageContext<'_> {
    /// The HTML page and the Markdown page.
    fn render(&self) -> Result<[String; 2], minijinja::Error> {
        let mut environment = Environment::new();
        environment.add_template("report.html", include_str!("report.html"))?;
        environment.add_template("report.md", include_str!("report.md.template"))?;
        let page = Value::from(Serde(self.page()));
        let render = |name| environment.get_template(name)?.render(page.clone()).map(|text| text + "\n");
        Ok([render("report.html")?, render("report.md")?])
    }

    fn page(&self) -> Page<'_> {
        let labels = self.labels;
        let all = self.report.kinds.values().fold(KindCounts::default(), KindCounts::plus);
        let figure = |label, value| Figure { label, value };
        Page {
            language: labels.language,
            direction: if labels.is_right_to_left { "rtl" } else { "ltr" },
            name: &self.config.name,
            month: format_month(self.month, labels.language, &self.config.country),
            time_zone: self.time.name,
            is_running: self.report.at < self.report.until,
            labels,
            figures: vec![
                figure(labels.sent, all.sent),
                figure(labels.arrived, all.arrived),
                figure(labels.read, all.read),
                figure(labels.repeated, self.report.repeated_submits),
            ],
            tables: vec![self.kinds_table(&all), self.waits_table(), self.outages_table()],
        }
    }

    fn kinds_table(&self, all: &KindCounts) -> PageTable {
        let labels = self.labels;
        let row = |name: &str, counts: &KindCounts| {
            let KindCounts { messages, sent, arrived, read, failed, waiting, expired, not_needed, open } = counts;
            let numbers = [messages, sent, arrived, read, failed, waiting, expired, not_needed, open];
            [name.to_owned()].into_iter().chain(numbers.map(ToString::to_string)).collect()
        };
        let known = MessageKind::ALL.into_iter().zip(labels.kinds);
        let mut rows: Vec<Vec<String>> =
            known.filter_map(|(kind, name)| Some(row(name, self.report.kinds.get(&kind)?))).collect();
        if rows.len() > 1 {
            rows.push(row(labels.all, all));
        }
        let Labels { kind, messages, sent, arrived, read, failed, waiting, expired, not_needed, open, .. } = labels;
        let heads = vec![*kind, messages, sent, arrived, read, failed, waiting, expired, not_needed, open];
        PageTable { title: labels.by_kind, heads, rows }
    }

    fn waits_table(&self) -> PageTable {
        let Labels { waits, reason, reasons, messages, median, longest, .. } = self.labels;
        let row = |(reason, name): (WaitReason, &str)| {
            let counts = self.report.waits.get(&reason)?;
            let (half, most) = (format_hours(counts.median_seconds), format_hours(counts.longest_seconds));
            Some(vec![name.to_owned(), counts.messages.to_string(), half, most])
        };
        let rows = WaitReason::ALL.into_iter().zip(*reasons).filter_map(row).collect();
        PageTable { title: waits, heads: vec![*reason, messages, median, longest], rows }
    }

    fn outages_table(&self) -> PageTable {
        let Labels { outages, line, from, until, messages, sent, expired, .. } = self.labels;
        let minute = |at: Timestamp| at.to_zoned(self.time.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let rows = self.report.outages.iter().map(|outage| {
            let end = outage.until.map_or_else(|| self.labels.still.to_owned(), minute);
            let numbers = [outage.messages, outage.sent, outage.expired].map(|number| number.to_string());
            [outage.line.clone(), minute(outage.from), end].into_iter().chain(numbers).collect()
        });
        let heads = vec![*line, from, until, messages, sent, expired];
        PageTable { title: outages, heads, rows: rows.collect() }
    }
}

/// Hours and minutes, `2:05`. A begun minute counts.
fn format_hours(seconds: i64) -> String {
    let minutes = (seconds + 59) / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tellonce_ops::{Outage, WaitCounts};

    use super::*;

    const CLIENT_TOML: &str = "client = \"acme\"\nname = \"Acme & Sons\"\ncountry = \"IL\"\n\
        time_zone = \"Asia/Jerusalem\"\nlanguages = [\"he\", \"en\"]\n[lines.main]\nline_id = \"line_1\"\n";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn november() -> MonthReport {
        let orders = KindCounts {
            messages: 412,
            sent: 398,
            arrived: 395,
            read: 310,
            failed: 3,
            waiting: 2,
            expired: 4,
            not_needed: 7,
            open: 1,
        };
        let reminders = KindCounts { messages: 60, sent: 60, arrived: 60, read: 41, ..KindCounts::default() };
        let line = WaitCounts { messages: 31, median_seconds: 4 * 3600, longest_seconds: 9 * 3600 + 61 };
        MonthReport {
            at: at("2026-12-01T08:00:00Z"),
            from: at("2026-10-31T22:00:00Z"),
            until: at("2026-11-30T22:00:00Z"),
            kinds: [(MessageKind::OrderUpdate, orders), (MessageKind::Reminder, reminders)].into(),
            waits: [(WaitReason::Line, line)].into(),
            repeated_submits: 5,
            outages: vec![Outage {
                line: "main".to_owned(),
                from: at("2026-11-14T05:12:00Z"),
                until: Some(at("2026-11-14T14:13:01Z")),
                messages: 31,
                sent: 27,
                expired: 4,
            }],
            cost: ScanCost::default(),
        }
    }

    fn render(report: &MonthReport, language: &str) -> [String; 2] {
        let config = ClientConfig::parse(CLIENT_TOML).unwrap();
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let labels = Labels::of_language(language);
        PageContext { report, config: &config, time, labels, month: parse_month("2026-11").unwrap() }.render().unwrap()
    }

    #[test]
    fn a_month_is_reported_in_two_languages() {
        insta::assert_snapshot!("english", render(&november(), "en")[1]);
        let [html, markdown] = render(&november(), "he");
        insta::assert_snapshot!("hebrew", markdown);
        assert!(html.contains("<html lang=\"he\" dir=\"rtl\">") && html.contains("Acme &amp; Sons"), "{html}");
        for outside in ["http:", "https:", "src=", "<script", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_month_without_messages_says_so_and_a_month_that_runs_is_marked() {
        let report = MonthReport { at: at("2026-11-20T08:00:00Z"), ..november() };
        assert!(render(&report, "en")[1].contains("the month is not over yet"));
        let empty = MonthReport { kinds: [].into(), waits: [].into(), outages: Vec::new(), ..november() };
        assert_eq!(render(&empty, "en")[1].matches("None in this month.").count(), 3);
    }

    #[test]
    fn a_month_has_a_year_and_two_digits() {
        assert_eq!(parse_month("2026-11").unwrap().to_string(), "2026-11-01");
        for text in ["2026-13", "2026", "11-2026", "2026-1", "nov"] {
            assert!(parse_month(text).unwrap_err().contains("like 2026-11"), "{text}");
        }
    }
}
