//! A calendar's feed: from its reads to the reminders that would be sent.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use reminder_scheduler::feed::{
    FeedScope, KnownIds, ParsedFeed, build_window,
    diff::{FeedChanges, FeedOrigin, FeedVerdict, compare_feed},
    ics,
};
use serde::Serialize;
use tellonce_core::{
    appointment::AppointmentReport,
    client_config::{CalendarConfig, CalendarKind, ClientConfig, FeedRule},
    content_type::find_charset,
    feed::FeedSnapshot,
};

use super::{
    bookings::AppointmentTracker,
    report::{AppointmentPreview, MessagePreview, SkippedReminder},
};

/// The result of one appointment of a feed.
#[derive(Serialize)]
pub(super) struct FeedAppointmentPreview {
    /// The last file that changed it.
    pub(super) case: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<AppointmentPreview>,
    pub(super) messages: Vec<MessagePreview>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) skipped_reminders: Vec<SkippedReminder>,
    pub(super) skip_reason: Option<String>,
}

impl FeedAppointmentPreview {
    fn from_reason(case: &str, because: String) -> Self {
        let (messages, skipped_reminders) = (Vec::new(), Vec::new());
        Self { case: case.to_owned(), event: None, messages, skipped_reminders, skip_reason: Some(because) }
    }
}

/// Reads a feed once for each file and returns the result of each appointment, then the remarks.
pub(super) fn preview_feed(
    config: &ClientConfig,
    name: &str,
    files: &[PathBuf],
    times: &[Timestamp],
) -> anyhow::Result<Vec<FeedAppointmentPreview>> {
    let calendar = &config.calendars[name];
    let CalendarKind::Ics(rule) = &calendar.kind else {
        bail!("`{name}` is not a feed: it posts its bookings; preview those deliveries instead");
    };
    let mut preview = FeedPreview {
        config,
        name,
        calendar,
        rule,
        tracker: AppointmentTracker::new(config),
        snapshot: FeedSnapshot::default(),
        shown: BTreeMap::new(),
        remarks: Vec::new(),
    };
    for (file, now) in files.iter().zip(times) {
        let case = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let body = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
        preview.apply_read(&case, body, read_charset(file).as_deref(), *now);
    }
    Ok(preview.finish())
}

/// The character set in the recorded headers of a feed, if they are beside its file.
fn read_charset(file: &Path) -> Option<String> {
    let headers = std::fs::read_to_string(file.with_extension("headers.txt")).ok()?;
    let mut named = headers.lines().filter_map(|line| line.split_once(':'));
    let (_, content_type) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-type"))?;
    find_charset(content_type).map(str::to_owned)
}

/// The reads of one feed.
struct FeedPreview<'a> {
    config: &'a ClientConfig,
    name: &'a str,
    calendar: &'a CalendarConfig,
    rule: &'a FeedRule,
    tracker: AppointmentTracker<'a>,
    snapshot: FeedSnapshot,
    /// By the subject of the appointment.
    shown: BTreeMap<String, FeedAppointmentPreview>,
    remarks: Vec<FeedAppointmentPreview>,
}

impl FeedPreview<'_> {
    fn apply_read(&mut self, case: &str, body: Vec<u8>, charset: Option<&str>, now: Timestamp) {
        self.tracker.advance_to(now);
        let window = build_window(self.calendar, now);
        let parsed = {
            let known = KnownIds::of_upcoming(&self.snapshot, now);
            let Self { rule, calendar, config, .. } = *self;
            let scope = FeedScope { rule, calendar, config, window, known: &known, calendar_id: None, charset };
            ics::parse_feed(body, scope)
        };
        let feed = match parsed {
            Ok(feed) => feed,
            Err(error) => return self.remark(case, format!("unreadable: {error}; no appointment changes")),
        };
        self.remark_events(case, &feed);
        let origin = FeedOrigin { name: self.name, calendar: self.calendar, rule: self.rule };
        let changes = match compare_feed(&self.snapshot, &feed, origin, window, now) {
            FeedVerdict::Changes(changes) => {
                self.snapshot.read_at = Some(now);
                changes
            }
            FeedVerdict::Suspect(reason, changes) => {
                self.remark(case, format!("suspect: {reason}"));
                changes
            }
        };
        let FeedChanges { pending, changes, new_count, waiting_count } = changes;
        if waiting_count > 0 {
            self.remark(case, format!("waiting: {waiting_count} new appointments, more than `new_per_day` allows"));
        }
        self.snapshot.count_new(new_count, now);
        self.snapshot.occurrences = pending;
        for change in changes {
            self.tracker.apply_report(&change.report, now);
            let one = FeedAppointmentPreview {
                case: case.to_owned(),
                event: Some(preview_report(&change.id, &change.report)),
                messages: Vec::new(),
                skipped_reminders: Vec::new(),
                skip_reason: None,
            };
            self.shown.insert(change.report.subject.clone(), one);
            change.record_reported(&mut self.snapshot.occurrences);
        }
    }

    /// Remarks on the events of a read that are not appointments.
    fn remark_events(&mut self, case: &str, feed: &ParsedFeed) {
        for (uid, error) in &feed.unparsed_events {
            self.remark(case, format!("not-understood: {uid}: {error}"));
        }
        for (uid, reason) in &feed.ignored_events {
            self.remark(case, format!("ignored: an event of {uid}: {reason}"));
        }
        for (uid, event) in feed.foreign_events.iter().filter(|(_, event)| event.looks_like_appointment) {
            self.remark(
                case,
                format!(
                    "foreign-organizer: {uid}: its organizer is {}; if that is the client, list the address in \
                     `organizers` (not needed if the feed's own address contains it, which a preview does not know)",
                    event.organizer.expose()
                ),
            );
        }
        let known = feed.occurrences.iter().filter_map(|(id, it)| Some((id, &it.start, it.attendee.as_ref().err()?)));
        let unknown = feed.unreachable.iter().map(|(id, (start, problem))| (id, start, problem));
        for (id, start, problem) in known.chain(unknown) {
            self.remark(case, format!("no-recipient: {id} at {start}: {problem}"));
        }
    }

    fn remark(&mut self, case: &str, because: String) {
        self.remarks.push(FeedAppointmentPreview::from_reason(case, because));
    }

    /// Sends all reminders. Returns the appointments by their start, then the remarks.
    fn finish(mut self) -> Vec<FeedAppointmentPreview> {
        self.tracker.advance_to(Timestamp::MAX);
        for (subject, one) in &mut self.shown {
            (one.messages, one.skipped_reminders) = self.tracker.take_for_appointment(subject);
        }
        let mut all: Vec<FeedAppointmentPreview> = self.shown.into_values().collect();
        all.sort_by_key(|one| one.event.as_ref().and_then(|event| event.start));
        all.extend(self.remarks);
        all
    }
}

fn preview_report(id: &str, report: &AppointmentReport) -> AppointmentPreview {
    AppointmentPreview::new("appointment.in-feed", id, report.status, report.as_of, report.details.as_ref())
}
