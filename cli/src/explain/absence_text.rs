//! Why a message is absent, in words.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

use tellonce_ops::{AbsenceReport, SettingToChange};

use crate::people_time::PeopleTime;

/// Where a setting is in the client's file, or where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SettingPlace {
    /// `clients/acme/client.toml:57`, without a line if no part of it is in the file.
    file_and_line: String,
    /// The keys that lead to it: `stores.shop.statuses`.
    setting: String,
    /// Whether the file has it.
    exists: bool,
}

impl SettingPlace {
    /// The line of the setting, or of the nearest one above it that the file has.
    pub(super) fn find(path: &Path, text: &str, setting: &SettingToChange) -> Self {
        let keys: Vec<&str> = setting.path.iter().map(String::as_str).collect();
        let line =
            (1..=keys.len()).rev().find_map(|length| Some((length, tellonce_check::find_line(text, &keys[..length])?)));
        let file = path.display();
        Self {
            file_and_line: line.map_or_else(|| file.to_string(), |(_, line)| format!("{file}:{line}")),
            setting: keys.join("."),
            exists: line.is_some_and(|(length, _)| length == keys.len()),
        }
    }
}

pub(super) fn write_absence(
    text: &mut String,
    report: &AbsenceReport,
    place: Option<&SettingPlace>,
    time: &PeopleTime<'_>,
) -> fmt::Result {
    writeln!(text, "{} (times in {})\n", report.key, time.name)?;
    for step in &report.chain {
        let holds = if step.holds { "yes" } else { "NO" };
        writeln!(text, "  {:<9} {holds:<4} {}", step.link.name(), step.explanation)?;
    }
    match report.broken_link() {
        None => writeln!(text, "\nIt arrived: tellonce explain {}", report.key)?,
        Some(step) => writeln!(text, "\nThe first link that broke: {}.", step.link.name())?,
    }
    if let (Some(setting), Some(place)) = (&report.setting, place) {
        let belongs = if place.exists { "is at" } else { "is missing; it belongs at" };
        writeln!(text, "`{}` {belongs} {}: {}.", place.setting, place.file_and_line, setting.advice)?;
    }
    if let Some(next) = report.message.as_ref().and_then(|message| message.next_try) {
        writeln!(text, "Next try: {}.", time.format(next))?;
    }
    if !report.without_message.is_empty() {
        writeln!(text, "\nDeliveries that led to no message:")?;
    }
    for delivery in &report.without_message {
        let at = time.format(delivery.at);
        writeln!(text, "  {at}  {}: {} ({})", delivery.id, delivery.explanation, delivery.outcome)?;
    }
    for problem in &report.unreadable {
        writeln!(text, "Not read: {problem}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tellonce_ops::{ChainLink, ChainStep};

    use super::*;

    fn step(link: ChainLink, holds: bool, explanation: &str) -> ChainStep {
        ChainStep { link, holds, explanation: explanation.to_owned() }
    }

    #[test]
    fn the_link_that_broke_is_named_with_the_line_of_the_setting() {
        let setting = |path: &[&str]| SettingToChange {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            advice: "map the status of `shop` that means `ready`".to_owned(),
        };
        let report = AbsenceReport {
            key: "order:1002:ready".to_owned(),
            chain: vec![
                step(ChainLink::Posted, true, "its sender posted shop#1"),
                step(ChainLink::Verified, true, "its proof was right"),
                step(ChainLink::Stored, true, "the inbox has it"),
                step(ChainLink::Planned, false, "no store of this order reports `ready`"),
            ],
            setting: Some(setting(&["stores", "shop", "statuses"])),
            message: None,
            without_message: vec![],
            unreadable: vec![],
        };
        let file = "client = \"acme\"\n[stores.shop]\nkind = \"woocommerce\"\nstatuses = {}\n";
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let mut text = String::new();
        for path in [&["stores", "shop", "statuses"][..], &["stores", "shop", "events"], &["messages", "ready"]] {
            let report = AbsenceReport { setting: Some(setting(path)), ..report.clone() };
            let place = SettingPlace::find(Path::new("clients/acme/client.toml"), file, &setting(path));
            write_absence(&mut text, &report, Some(&place), &time).unwrap();
        }
        insta::assert_snapshot!(text);
    }
}
