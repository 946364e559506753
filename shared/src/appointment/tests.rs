//! Reports in every order, and what each does to the header.

use jiff::SignedDuration;

use super::*;

fn at_hour(hour: i64) -> Timestamp {
    "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
}

fn build_attendee(phone: &str) -> Attendee {
    Attendee { phone: Phone::from_e164(phone).unwrap(), name: Some("Noa".into()), locale: None, zone: None }
}

fn build_report(standing: AppointmentStatus, start: Option<i64>, as_of: i64, phones: &[&str]) -> AppointmentReport {
    AppointmentReport {
        subject: "appointment:88".into(),
        calendar: "clinic".into(),
        line: "main".into(),
        status: standing,
        details: start.map(|start| AppointmentDetails {
            start: at_hour(start),
            zone: "Asia/Jerusalem".into(),
            attendees: phones.iter().map(|phone| build_attendee(phone)).collect(),
            title: None,
            place: None,
        }),
        as_of: at_hour(as_of),
        left_out: LeftOutAttendees::Leave,
        delivery: "clinic#1".into(),
        previous: None,
    }
}

fn expect_updated(learned: ReportResult) -> Appointment {
    match learned {
        ReportResult::Updated(appointment) => *appointment,
        other => panic!("{other:?}"),
    }
}

const NOA: &str = "+972545550199";
const ADI: &str = "+972525550101";

#[test]
fn the_later_of_two_reports_counts_in_either_order() {
    let booked = build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]);
    let moved = build_report(AppointmentStatus::Booked, Some(72), 2, &[NOA]);
    let first = expect_updated(Appointment::apply_report(None, &booked, at_hour(3)));
    let after = expect_updated(Appointment::apply_report(Some(&first), &moved, at_hour(3)));
    assert_eq!((after.start, after.generation, after.version, after.booked_at), (at_hour(72), 2, 2, at_hour(2)));
    let moved_first = expect_updated(Appointment::apply_report(None, &moved, at_hour(3)));
    assert_eq!(Appointment::apply_report(Some(&moved_first), &booked, at_hour(3)), ReportResult::Stale);
}

#[test]
fn a_cancellation_that_arrives_first_is_not_undone_by_the_earlier_booking() {
    let cancelled = expect_updated(Appointment::apply_report(
        None,
        &build_report(AppointmentStatus::Cancelled, None, 2, &[]),
        at_hour(3),
    ));
    assert_eq!(
        Appointment::apply_report(
            Some(&cancelled),
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
            at_hour(3)
        ),
        ReportResult::Stale
    );
    assert_eq!(
        Appointment::apply_report(
            Some(&cancelled),
            &build_report(AppointmentStatus::Booked, Some(48), 2, &[NOA]),
            at_hour(3)
        ),
        ReportResult::Stale
    );
    let again = expect_updated(Appointment::apply_report(
        Some(&cancelled),
        &build_report(AppointmentStatus::Booked, Some(48), 3, &[NOA]),
        at_hour(3),
    ));
    assert_eq!((again.status, again.booked_at), (AppointmentStatus::Booked, at_hour(3)));
}

#[test]
fn a_repeat_changes_nothing_and_a_newer_repeat_updates_only_its_time() {
    let first = expect_updated(Appointment::apply_report(
        None,
        &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
        at_hour(3),
    ));
    assert_eq!(
        Appointment::apply_report(
            Some(&first),
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
            at_hour(4)
        ),
        ReportResult::Unchanged
    );
    let later = expect_updated(Appointment::apply_report(
        Some(&first),
        &build_report(AppointmentStatus::Booked, Some(48), 2, &[NOA]),
        at_hour(4),
    ));
    assert_eq!((later.generation, later.booked_at, later.as_of), (1, at_hour(1), at_hour(2)));
}

#[test]
fn an_attendee_retains_its_number_when_others_come_and_go() {
    let two = expect_updated(Appointment::apply_report(
        None,
        &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA, ADI]),
        at_hour(3),
    ));
    let one = expect_updated(Appointment::apply_report(
        Some(&two),
        &build_report(AppointmentStatus::Booked, Some(48), 2, &[ADI]),
        at_hour(3),
    ));
    assert_eq!(one.attendees.iter().map(|entry| entry.attending).collect::<Vec<_>>(), [false, true]);
    assert_eq!((one.attendees[1].attendee().unwrap().phone.expose(), one.generation), (ADI, 2));
}

fn with_reminder_opened(appointment: &Appointment, attendee: usize) -> Appointment {
    let stage_outcome =
        StageOutcome { stage: "24h".into(), start: appointment.start, attendee, outcome: ReminderOutcome::Opened };
    Appointment { stage_outcomes: vec![stage_outcome], ..appointment.clone() }
}

#[test]
fn a_reminder_sent_under_the_older_id_counts_for_the_same_person_at_any_number() {
    let older = expect_updated(Appointment::apply_report(
        None,
        &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA, ADI]),
        at_hour(3),
    ));
    let older = with_reminder_opened(&older, 1);
    let continuing = AppointmentReport {
        previous: Some(Box::new(older.clone())),
        ..build_report(AppointmentStatus::Booked, Some(48), 2, &[ADI, NOA])
    };
    let new = expect_updated(Appointment::apply_report(None, &continuing, at_hour(3)));
    let stage_outcome = &new.stage_outcomes[0];
    assert_eq!(new.attendees[stage_outcome.attendee].attendee().unwrap().phone.expose(), ADI);
    assert!(new.attendees.iter().all(|entry| entry.attending), "{new:?}");
    // The report leaves out the attendees, so the known attendees stay.
    let same = AppointmentReport {
        left_out: LeftOutAttendees::Stay,
        ..build_report(AppointmentStatus::Booked, Some(72), 2, &[])
    };
    let same = AppointmentReport { previous: Some(Box::new(older)), ..same };
    let new = expect_updated(Appointment::apply_report(None, &same, at_hour(3)));
    assert_eq!(new.attendees.iter().filter(|entry| entry.attending).count(), 2);
}

#[test]
fn a_reminder_sent_under_the_older_id_counts_even_when_the_report_is_late() {
    let older = expect_updated(Appointment::apply_report(
        None,
        &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
        at_hour(3),
    ));
    let older = with_reminder_opened(&older, 0);
    let newer = expect_updated(Appointment::apply_report(
        None,
        &build_report(AppointmentStatus::Cancelled, None, 9, &[]),
        at_hour(9),
    ));
    let continuing = AppointmentReport {
        previous: Some(Box::new(older)),
        ..build_report(AppointmentStatus::Booked, Some(72), 2, &[NOA])
    };
    let after = expect_updated(Appointment::apply_report(Some(&newer), &continuing, at_hour(9)));
    assert_eq!((after.status, after.stage_outcomes.len()), (AppointmentStatus::Cancelled, 1));
    assert_eq!(
        Appointment::apply_report(Some(&after), &continuing, at_hour(9)),
        ReportResult::Stale,
        "the second report changes nothing"
    );
}

#[test]
fn an_outcome_has_the_same_name_in_the_table_and_in_logs() {
    for outcome in ReminderOutcome::ALL {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
    }
}

#[test]
fn a_reminder_skipped_for_lack_of_time_is_planned_again_when_the_same_start_is_rebooked() {
    let with_outcome = |outcome| {
        let mut known = expect_updated(Appointment::apply_report(
            None,
            &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
            at_hour(3),
        ));
        known.stage_outcomes.push(StageOutcome { stage: "24h".into(), start: at_hour(48), attendee: 0, outcome });
        known
    };
    for (outcome, stays) in [
        (ReminderOutcome::Opened, 1),
        (ReminderOutcome::Dropped, 1),
        (ReminderOutcome::NoTime, 0),
        (ReminderOutcome::Skipped, 0),
    ] {
        let known = with_outcome(outcome);
        let off = expect_updated(Appointment::apply_report(
            Some(&known),
            &build_report(AppointmentStatus::Cancelled, None, 2, &[]),
            at_hour(4),
        ));
        let on = expect_updated(Appointment::apply_report(
            Some(&off),
            &build_report(AppointmentStatus::Booked, Some(48), 3, &[NOA]),
            at_hour(5),
        ));
        assert_eq!(on.stage_outcomes.len(), stays, "{outcome:?}");
        let continuing = AppointmentReport {
            previous: Some(Box::new(known)),
            ..build_report(AppointmentStatus::Booked, Some(48), 3, &[NOA])
        };
        assert_eq!(
            expect_updated(Appointment::apply_report(None, &continuing, at_hour(5))).stage_outcomes.len(),
            stays,
            "{outcome:?}"
        );
    }
}

#[test]
fn the_first_report_of_attendees_counts_even_when_it_is_late() {
    let without_attendees = AppointmentReport {
        left_out: LeftOutAttendees::Stay,
        ..build_report(AppointmentStatus::Booked, Some(72), 2, &[])
    };
    let moved = expect_updated(Appointment::apply_report(None, &without_attendees, at_hour(3)));
    let booked = expect_updated(Appointment::apply_report(
        Some(&moved),
        &build_report(AppointmentStatus::Booked, Some(48), 1, &[NOA]),
        at_hour(3),
    ));
    assert_eq!((booked.start, booked.attendees.len(), booked.generation), (at_hour(72), 1, 2));
}

/// A later report that names these people without a number, besides these with one.
fn report_without_numbers(names: &[&str], phones: &[&str]) -> AppointmentReport {
    let left_out = LeftOutAttendees::StayIfNamed(names.iter().map(|&name| name.to_owned()).collect());
    AppointmentReport { left_out, ..build_report(AppointmentStatus::Booked, Some(72), 2, phones) }
}

fn attending_phones(appointment: &Appointment) -> Vec<&str> {
    let attending = appointment.attendees.iter().filter(|entry| entry.attending);
    attending.filter_map(|entry| entry.attendee()).map(|attendee| attendee.phone.expose()).collect()
}

#[test]
fn an_attendee_without_a_name_stays_only_as_the_person_whose_name_is_left() {
    let mut asked = build_report(AppointmentStatus::Unconfirmed, Some(48), 1, &[NOA, ADI]);
    let attendees = &mut asked.details.as_mut().unwrap().attendees;
    attendees[0].name = None;
    attendees[1].name = Some("Adi Sela".into());
    let known = expect_updated(Appointment::apply_report(None, &asked, at_hour(3)));
    let after = |names: &[&str]| {
        let report = report_without_numbers(names, &[]);
        expect_updated(Appointment::apply_report(Some(&known), &report, at_hour(3)))
    };
    assert_eq!(attending_phones(&after(&["Adi Sela"])), [ADI], "the other one left");
    assert_eq!(attending_phones(&after(&["Adi Sela", "Noa Levi"])), [NOA, ADI]);
    assert_eq!(attending_phones(&after(&["Noa Levi"])), [NOA]);
}

#[test]
fn a_later_report_without_a_number_keeps_the_known_number_of_the_same_person_only() {
    let mut asked = build_report(AppointmentStatus::Unconfirmed, Some(48), 1, &[NOA, ADI]);
    asked.details.as_mut().unwrap().attendees[1].name = Some("Adi  Sela".into());
    let known = expect_updated(Appointment::apply_report(None, &asked, at_hour(3)));
    for (names, phones, staying) in [
        (&["Noa"][..], &[][..], &[NOA][..]),
        (&["adi SELA", "Guest"], &[], &[ADI]),
        (&["Noa", "Adi Sela"], &[], &[NOA, ADI]),
        (&["Adi Sela"], &[NOA], &[NOA, ADI]),
        (&["Maya"], &[], &[]),
        (&[], &[ADI], &[ADI]),
    ] {
        let report = report_without_numbers(names, phones);
        let confirmed = expect_updated(Appointment::apply_report(Some(&known), &report, at_hour(4)));
        assert_eq!(attending_phones(&confirmed), staying, "{names:?}");
        assert_eq!((confirmed.status, confirmed.start), (AppointmentStatus::Booked, at_hour(72)));
        // The same under a new id.
        let moved = AppointmentReport { previous: Some(Box::new(known.clone())), ..report };
        let moved = expect_updated(Appointment::apply_report(None, &moved, at_hour(4)));
        let mut phones = attending_phones(&moved);
        phones.sort_unstable_by_key(|phone| *phone != NOA);
        assert_eq!(phones, staying, "{names:?}");
    }
}

#[test]
fn a_person_who_left_does_not_return_with_a_report_without_numbers() {
    let both = expect_updated(Appointment::apply_report(
        None,
        &build_report(AppointmentStatus::Booked, Some(48), 0, &[NOA, ADI]),
        at_hour(3),
    ));
    let left = build_report(AppointmentStatus::Booked, Some(48), 1, &[ADI]);
    let left = expect_updated(Appointment::apply_report(Some(&both), &left, at_hour(3)));
    // Both have the same name.
    let report = report_without_numbers(&["Noa"], &[]);
    assert_eq!(attending_phones(&expect_updated(Appointment::apply_report(Some(&left), &report, at_hour(4)))), [ADI]);
    let unnamed = AppointmentReport { left_out: LeftOutAttendees::Stay, ..report };
    assert_eq!(attending_phones(&expect_updated(Appointment::apply_report(Some(&left), &unnamed, at_hour(4)))), [ADI]);
}

#[test]
fn debug_output_shows_no_personal_data() {
    let mut report = report_without_numbers(&["Noa"], &[NOA]);
    let details = report.details.as_mut().unwrap();
    details.title = Some("Call Noa on 0545550199".into());
    details.place = Some("545550199".into());
    details.attendees[0].locale = Some("+972545550199".into());
    let appointment = expect_updated(Appointment::apply_report(None, &report, at_hour(3)));
    let debug_text = format!("{report:?} {appointment:?}");
    assert!(!debug_text.contains("545550199") && !debug_text.contains("Noa"), "{debug_text}");
}

#[test]
fn the_trail_says_when_it_was_booked_moved_and_cancelled() {
    let booked = |start, as_of, phones: &[&str]| build_report(AppointmentStatus::Booked, Some(start), as_of, phones);
    let reports = [
        booked(48, 1, &[NOA]),
        // A repeat adds no step.
        booked(48, 2, &[NOA]),
        booked(72, 3, &[NOA]),
        booked(72, 4, &[NOA, ADI]),
        build_report(AppointmentStatus::Cancelled, None, 5, &[]),
    ];
    let mut known = None;
    for (hour, report) in (6..).zip(&reports) {
        known = Some(expect_updated(Appointment::apply_report(known.as_ref(), report, at_hour(hour))));
    }
    let trail = known.unwrap().trail;
    let steps: Vec<_> = trail.steps().iter().map(|step| (step.at, &*step.code, step.detail.as_deref())).collect();
    let (sunday, monday) = (Some("2026-11-22T00:00:00Z"), Some("2026-11-23T00:00:00Z"));
    let expected = [
        (at_hour(6), "booked", sunday),
        (at_hour(8), "rescheduled", monday),
        (at_hour(9), "attendees-changed", monday),
        (at_hour(10), "cancelled", monday),
    ];
    assert_eq!(steps, expected);
}
