//! Plans and lists in words, for the person who confirms them.

use std::fmt::{self, Write as _};

use tellonce_ops::{
    ContactReport, DeadLetter, DeadLettersPlan, DeliveryPlan, DonePlan, FeedPlan, ForgetPlan, FormPlan, LineAction,
    LinePlan, LineTestPlan, Operation, OptOutPlan, Plan, QueueAction, QueuePlan, ReplayPlan, ResendPlan,
};

use crate::people_time::PeopleTime;

/// The most ids of deliveries that a plan lists.
const MAX_LISTED: usize = 20;

pub(crate) fn render_plan(
    plan: &Plan,
    because: Option<&str>,
    who: &str,
    time: &PeopleTime<'_>,
) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(text, "Plan: {plan}")?;
    writeln!(text, "  as {who}")?;
    if let Some(because) = because {
        writeln!(text, "  because {because}")?;
    }
    writeln!(text)?;
    match plan {
        Plan::Line(plan) => write_line(&mut text, plan),
        Plan::LineTest(plan) => write_line_test(&mut text, plan),
        Plan::Form(plan) => write_form(&mut text, plan),
        Plan::Feed(plan) => write_feed(&mut text, plan, time),
        Plan::Queue(plan) => write_queue(&mut text, plan),
        Plan::OptOut(plan) => write_opt_out(&mut text, plan, time),
        Plan::Forget(plan) => write_forget(&mut text, plan, time),
        Plan::Done(plan) => write_done(&mut text, plan, time),
        Plan::Resend(plan) => write_resend(&mut text, plan, time),
        Plan::Delivery(plan) => write_delivery(&mut text, plan, time),
        Plan::Replay(plan) => write_replay(&mut text, plan),
        Plan::DeadLetters(plan) => write_dead_letters(&mut text, plan, time),
    }?;
    Ok(text)
}

fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

fn messages(number: usize) -> String {
    count(number, "message waits", "messages wait")
}

fn write_line(text: &mut String, plan: &LinePlan) -> fmt::Result {
    let LinePlan { action, stopped, waiting, unknown, messages_per_minute, .. } = plan;
    match stopped {
        Some(because) => writeln!(text, "  The line is stopped: {because}.")?,
        None => writeln!(text, "  The line is not stopped.")?,
    }
    writeln!(text, "  {} for it now.", messages(*waiting))?;
    match action {
        LineAction::Hold => {
            writeln!(text, "  From the next message on, nothing is sent. Messages wait, and useless ones expire.")
        }
        LineAction::Release => {
            writeln!(text, "  Those that are still useful go out, at most {messages_per_minute} a minute.")
        }
        LineAction::Drop => {
            writeln!(text, "  Each message that waits now is dropped when its turn comes, and is never sent.")?;
            if *unknown > 0 {
                let them = count(*unknown, "message", "messages");
                writeln!(text, "  {them} may have arrived already: not dropped, and tried again under the same key.")?;
            }
            Ok(())
        }
    }
}

fn write_line_test(text: &mut String, plan: &LineTestPlan) -> fmt::Result {
    if let Some(because) = &plan.stopped {
        writeln!(text, "  The line is stopped, so the message would wait: {because}.")?;
    }
    writeln!(text, "  One message goes to {}, which must be a number of the agency's.", plan.to)?;
    writeln!(text, "  Its bytes are submitted again under the same key. The phone must show one message.")
}

fn write_form(text: &mut String, plan: &FormPlan) -> fmt::Result {
    let held = count(plan.held, "delivery with leads is held", "deliveries with leads are held");
    writeln!(text, "  {held}.")?;
    if plan.greets {
        writeln!(text, "  Their leads are greeted once each, if the greeting is still useful.")?;
    } else {
        writeln!(text, "  None of their leads is greeted.")?;
    }
    writeln!(text, "  Afterwards the form greets again.")
}

fn write_done(text: &mut String, DonePlan { need }: &DonePlan, time: &PeopleTime<'_>) -> fmt::Result {
    writeln!(text, "  {} since {}: {}.", need.name, time.format_minute(need.since), need.reason)?;
    writeln!(text, "  It leaves the list of what needs you. Nothing is sent.")
}

fn write_feed(text: &mut String, plan: &FeedPlan, time: &PeopleTime<'_>) -> fmt::Result {
    if let Some(problem) = &plan.problem {
        writeln!(text, "  {problem}")?;
    }
    if let Some(since) = plan.suspect_since {
        writeln!(text, "  The feed is suspect since {}.", time.format_minute(since))?;
    }
    if let Some(since) = plan.postponing_since {
        writeln!(text, "  New appointments wait since {}.", time.format_minute(since))?;
    }
    let known = count(plan.appointments, "appointment", "appointments");
    let read = plan.read_at.map(|at| format!(", read at {}", time.format_minute(at))).unwrap_or_default();
    writeln!(text, "  tellonce knows {known} of it{read}.")?;
    writeln!(
        text,
        "  The next read counts: what it lacks is cancelled, and what waits is known. Times in {}.",
        time.name
    )
}

fn write_queue(text: &mut String, plan: &QueuePlan) -> fmt::Result {
    if plan.action == QueueAction::Drop {
        writeln!(text, "  {}.", count(plan.waiting, "task waits", "tasks wait"))?;
    }
    writeln!(text, "  {}.", count(plan.refused, "task is refused", "tasks are refused"))?;
    match plan.action {
        QueueAction::Retry => writeln!(text, "  Each is tried again, as a new task would be."),
        QueueAction::Drop => writeln!(
            text,
            "  None of them is tried again. A task that is being tried now stays: it may arrive. New tasks are made."
        ),
    }
}

fn write_opt_out(text: &mut String, plan: &OptOutPlan, time: &PeopleTime<'_>) -> fmt::Result {
    write_contact(text, &plan.contact, time)?;
    if plan.opts_out {
        writeln!(text, "  Reminders and greetings are not sent from now on. Messages about orders are.")
    } else {
        writeln!(text, "  Reminders and greetings are sent again. Those that were missed are not.")
    }
}

fn write_forget(text: &mut String, plan: &ForgetPlan, time: &PeopleTime<'_>) -> fmt::Result {
    write_contact(text, &plan.contact, time)?;
    let all: usize = plan.found.iter().map(|found| found.items).sum();
    if all == 0 {
        return writeln!(text, "  Nothing of this person is stored.");
    }
    writeln!(text, "  {} of this person:", count(all, "item holds data", "items hold data"))?;
    for found in &plan.found {
        writeln!(text, "  {:>8}  {} ({})", found.items, found.kind, found.table)?;
    }
    writeln!(text, "  Number, name and texts are erased, in deliveries with all else that they hold.")?;
    match plan.count("waiting-messages") {
        0 => {}
        waiting => {
            let waiting = count(waiting, "message that waits is", "messages that wait are");
            writeln!(text, "  {waiting} never sent.")?;
        }
    }
    writeln!(text, "  Keys and states stay, so that nothing is sent again, and so does the opt-out.")?;
    writeln!(text, "  This cannot be undone. To keep a copy, run `person export` first.")
}

pub(super) fn write_contact(text: &mut String, contact: &ContactReport, time: &PeopleTime<'_>) -> fmt::Result {
    writeln!(text, "  {}", contact.contact)?;
    match (contact.opted_out_at, contact.opted_in_at) {
        (Some(at), _) => writeln!(text, "  Opted out since {} ({}).", time.format_minute(at), time.name)?,
        (None, Some(at)) => {
            writeln!(text, "  Not opted out: taken back at {} ({}).", time.format_minute(at), time.name)?;
        }
        (None, None) => writeln!(text, "  Not opted out.")?,
    }
    writeln!(text, "  The ledger has {} for it.", count(contact.messages, "message", "messages"))
}

fn write_resend(text: &mut String, plan: &ResendPlan, time: &PeopleTime<'_>) -> fmt::Result {
    let to = plan.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
    let reason = plan.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    writeln!(text, "  {}{to} is {}{reason}.", plan.key, plan.state)?;
    if plan.is_absent {
        writeln!(text, "  It may have arrived. You say that you looked, and that it is not in the conversation.")?;
    } else {
        writeln!(text, "  It did not go out.")?;
    }
    writeln!(text, "  It goes out under the same key, with the same text, over the line {}.", plan.line)?;
    writeln!(text, "  It is useful until {} ({}), and expires then.", time.format_minute(plan.useful_until), time.name)
}

fn write_delivery(text: &mut String, plan: &DeliveryPlan, time: &PeopleTime<'_>) -> fmt::Result {
    if let Some(at) = plan.received_at {
        writeln!(text, "  Received {} ({}), processed by {}.", time.format(at), time.name, plan.function)?;
    }
    match (&plan.outcome, &plan.outcome_text) {
        (Some(code), Some(explanation)) => writeln!(text, "  Outcome {code}: {explanation}.")?,
        (Some(code), None) => writeln!(text, "  Outcome {code}.")?,
        (None, _) => writeln!(text, "  It has no outcome: it led to a message, or was not processed.")?,
    }
    writeln!(text, "  It is processed again. What was sent is not sent twice.")
}

fn write_replay(text: &mut String, plan: &ReplayPlan) -> fmt::Result {
    let all = plan.outcomes.values().sum();
    writeln!(text, "  {}.", count(all, "delivery matches", "deliveries match"))?;
    for (outcome, number) in &plan.outcomes {
        let outcome = if outcome == "none" { "without an outcome" } else { outcome };
        writeln!(text, "  {number:>8}  {outcome}")?;
    }
    for delivery in plan.deliveries.iter().take(MAX_LISTED) {
        writeln!(text, "    {delivery}")?;
    }
    if plan.deliveries.len() > MAX_LISTED {
        writeln!(text, "    … and {} more: --json lists all", plan.deliveries.len() - MAX_LISTED)?;
    }
    writeln!(text, "  Each is processed again. What was sent is not sent twice.")
}

fn write_dead_letters(text: &mut String, plan: &DeadLettersPlan, time: &PeopleTime<'_>) -> fmt::Result {
    write_letters(text, &plan.letters, time)?;
    for span in &plan.spans {
        let (from, to) = (time.format_minute(span.from), time.format_minute(span.to));
        let found = count(span.matches, "delivery", "deliveries");
        writeln!(
            text,
            "  {}: from {from} to {to}, {found} without an outcome for {} in the letters.",
            span.function, span.records
        )?;
    }
    if plan.replays {
        writeln!(text, "  The deliveries of these times are processed again. What was sent is not sent twice.")?;
        writeln!(text, "  A letter is deleted if as many deliveries were found as it holds.")
    } else {
        writeln!(text, "  The letters are deleted, and nothing is replayed.")
    }
}

pub(super) fn write_letters(text: &mut String, letters: &[DeadLetter], time: &PeopleTime<'_>) -> fmt::Result {
    let all = count(letters.len(), "dead letter", "dead letters");
    writeln!(text, "  {all} (times in {})", time.name)?;
    for letter in letters {
        let first = letter.first.map_or_else(|| "at an unknown time".to_owned(), |at| time.format(at));
        let last = letter.last.filter(|last| letter.first != Some(*last));
        let last = last.map(|at| format!(" to {}", time.format(at))).unwrap_or_default();
        let records = count(letter.records, "change", "changes");
        writeln!(text, "    {}  {first}{last}, {records}: {}", letter.function, describe_reason(letter))?;
    }
    Ok(())
}

/// Why a batch was given up.
fn describe_reason(letter: &DeadLetter) -> String {
    match letter.reason.as_str() {
        "RetryAttemptsExhausted" => format!("given up after {}", count(letter.tries as usize, "try", "tries")),
        "RecordAgeExceeded" => "given up because it was too old".to_owned(),
        other => format!("given up ({other})"),
    }
}

pub(super) fn render_operations(operations: &[Operation], time: &PeopleTime<'_>) -> Result<String, fmt::Error> {
    let mut text = String::new();
    if operations.is_empty() {
        writeln!(text, "No operation is recorded.")?;
        return Ok(text);
    }
    writeln!(text, "Operations, the newest first (times in {})", time.name)?;
    for operation in operations {
        writeln!(text, "\n{}  {}", time.format(operation.at), operation.command)?;
        writeln!(text, "  by {}", operation.who)?;
        if let Some(because) = &operation.because {
            writeln!(text, "  because {because}")?;
        }
        match &operation.outcome {
            Some(outcome) => writeln!(text, "  {outcome}")?,
            None => writeln!(text, "  no outcome: it still runs, or was interrupted")?,
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use tellonce_core::contact::Phone;
    use tellonce_ops::{PersonCount, ReplaySelection, ReplaySpan};

    use super::*;

    const WHO: &str = "arn:aws:sts::111122223333:assumed-role/tellonce-acme-OperatorRole/dana";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn jerusalem() -> PeopleTime<'static> {
        PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" }
    }

    fn render_all(plans: &[(Plan, Option<&str>)]) -> String {
        let render = |(plan, because): &(Plan, Option<&str>)| render_plan(plan, *because, WHO, &jerusalem()).unwrap();
        plans.iter().map(render).collect::<Vec<_>>().join("\n")
    }

    fn contact() -> ContactReport {
        ContactReport {
            contact: "contact:0f3a9c27d481".to_owned(),
            opted_out_at: Some(at("2026-11-20T08:00:00Z")),
            opted_in_at: None,
            messages: 3,
        }
    }

    fn letter(last: &str, reason: &str) -> DeadLetter {
        DeadLetter {
            id: "m-1".to_owned(),
            function: "order-notifier".to_owned(),
            first: Some(at("2026-11-29T10:14:03Z")),
            last: Some(at(last)),
            records: 2,
            given_up_at: Some(at("2026-11-29T10:20:00Z")),
            tries: 11,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn plans_for_lines_forms_feeds_and_queues_say_what_changes() {
        let line = |action, stopped: Option<&str>, unknown| {
            let stopped = stopped.map(str::to_owned);
            Plan::Line(LinePlan {
                action,
                line: "main".to_owned(),
                stopped,
                waiting: 14,
                unknown,
                messages_per_minute: 20,
            })
        };
        let queue = |action, waiting, refused| {
            Plan::Queue(QueuePlan { action, queue: "crm:sales".to_owned(), waiting, refused })
        };
        let form = |greets, held| Plan::Form(FormPlan { form: "contact".to_owned(), greets, held });
        let feed = Plan::Feed(FeedPlan {
            calendar: "diary".to_owned(),
            problem: Some("41 of 60 appointments are missing".to_owned()),
            suspect_since: Some(at("2026-11-29T06:00:00Z")),
            postponing_since: None,
            read_at: Some(at("2026-11-29T05:55:00Z")),
            appointments: 60,
        });
        insta::assert_snapshot!(render_all(&[
            (line(LineAction::Hold, None, 0), Some("wrong price in the text")),
            (line(LineAction::Release, Some("wrong price in the text"), 0), None),
            (line(LineAction::Drop, Some("wrong price in the text"), 2), None),
            (form(true, 1), None),
            (form(false, 30), Some("an attack")),
            (feed, None),
            (queue(QueueAction::Retry, 0, 7), None),
            (queue(QueueAction::Drop, 1, 7), None),
        ]));
    }

    #[test]
    fn plans_for_customers_and_deliveries_name_no_customer() {
        let phone = Phone::from_e164("+972545550199").unwrap();
        let opt_out = |opts_out| Plan::OptOut(OptOutPlan { contact: contact(), opts_out, phone: phone.clone() });
        let delivery = Plan::Delivery(DeliveryPlan {
            delivery: "shop#b54557e4".to_owned(),
            function: "order-notifier",
            received_at: Some(at("2026-11-29T10:14:03Z")),
            outcome: Some("no-phone".to_owned()),
            outcome_text: Some("the order has no phone number".to_owned()),
        });
        let replay = Plan::Replay(ReplayPlan {
            selection: ReplaySelection { sender: Some("shop".to_owned()), failed: true, ..ReplaySelection::default() },
            outcomes: [("failed".to_owned(), 20), ("none".to_owned(), 3)].into(),
            deliveries: (0..23).map(|number| format!("shop#{number}")).collect(),
        });
        let text = render_all(&[(opt_out(true), None), (opt_out(false), None), (delivery, None), (replay, None)]);
        assert!(!text.contains("54555"), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_resend_says_why_the_message_did_not_go_out_and_what_the_operator_claims() {
        let resend = |state, reason: &str, is_absent| {
            Plan::Resend(ResendPlan {
                key: "order:1001:ready".to_owned(),
                line: "main".to_owned(),
                to: Some("+972…0199".to_owned()),
                state,
                reason: Some(reason.to_owned()),
                useful_until: at("2026-11-29T16:00:00Z"),
                has_new_time: false,
                is_absent,
                version: 4,
            })
        };
        insta::assert_snapshot!(render_all(&[
            (resend("refused", "EZWhatsApp refused it (HTTP 400)", false), Some("the number was corrected")),
            (resend("needs-human", "the outcome stayed unknown; check in EZWhatsApp whether it arrived", true), None),
        ]));
    }

    #[test]
    fn a_plan_to_forget_says_what_it_found_and_what_stays() {
        let count = |table: &str, kind: &str, items| PersonCount { table: table.into(), kind: kind.into(), items };
        let plan = Plan::Forget(ForgetPlan {
            contact: contact(),
            found: vec![
                count("ledger", "appointments", 1),
                count("ledger", "messages", 12),
                count("ledger", "waiting-messages", 2),
                count("store-inbox", "deliveries", 14),
            ],
            traces: tellonce_core::person::PersonTraces::default(),
        });
        insta::assert_snapshot!(render_all(&[(plan, Some("request of 3 May"))]));
    }

    #[test]
    fn dead_letters_are_listed_with_their_function_time_and_reason() {
        let letters = vec![
            letter("2026-11-29T10:14:03Z", "RetryAttemptsExhausted"),
            letter("2026-11-29T10:16:00Z", "RecordAgeExceeded"),
        ];
        let span = ReplaySpan {
            function: "order-notifier",
            from: at("2026-11-29T10:13:03Z"),
            to: at("2026-11-29T10:17:00Z"),
            letters: vec!["m-1".to_owned()],
            records: 4,
            matches: 3,
        };
        let replay = DeadLettersPlan { letters: letters.clone(), spans: vec![span], replays: true };
        let delete = DeadLettersPlan { letters, spans: vec![], replays: false };
        insta::assert_snapshot!(render_all(&[(Plan::DeadLetters(replay), None), (Plan::DeadLetters(delete), None)]));
    }

    #[test]
    fn operations_say_who_did_what_when_and_why() {
        let operation = |command: &str, because: Option<&str>, outcome: Option<&str>| Operation {
            at: at("2026-11-29T10:14:03Z"),
            who: WHO.to_owned(),
            command: command.to_owned(),
            because: because.map(str::to_owned),
            outcome: outcome.map(str::to_owned),
            ended_at: None,
        };
        let operations = [
            operation("release the line main", None, None),
            operation("hold the line main", Some("wrong price in the text"), Some("the line is stopped")),
        ];
        insta::assert_snapshot!(render_operations(&operations, &jerusalem()).unwrap());
    }
}
