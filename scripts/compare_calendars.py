#!/usr/bin/env python3
"""Reads random calendars with tellonce and with another implementation, and compares the starts.

    cargo build --workspace --examples --locked
    scripts/compare_calendars.py --events 20000 --seed 1

The other implementation is Python's `icalendar` and `recurring-ical-events`. Each event is written
twice: by the standard for the other implementation, and for tellonce as programs really write
events (odd times, names of zones, broken lines, character sets, several calendars in one file).
Both must have the same starts in the windows of seven reads around changes of the clocks. An event
that tellonce must not guess (an unknown zone, a time with no meaning) must be named by its UID.

A start that is wrong, and an event that is lost without a word, are failures. The exit code is 1
then, and the files of the first failures stay in a folder for a closer look.
"""

import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events
from dateutil.rrule import rrulestr
from recurring_ical_events.adapters import component as oracle_component
from recurring_ical_events.series import rrule as oracle_series

READER = pathlib.Path(__file__).parent.parent / "target/debug/examples/expand_feeds"
CLIENT_ZONE = "Asia/Jerusalem"
# Before changes of the clocks: the United States, Israel and Europe, Australia and New Zealand, the same in autumn,
# and a month without any.
NOWS = [
    datetime(*now, tzinfo=timezone.utc)
    for now in [
        (2026, 3, 1, 12), (2026, 3, 25, 21, 30), (2026, 4, 2, 0, 15), (2026, 9, 24, 6), (2026, 10, 22, 12),
        (2026, 10, 30, 23, 45), (2026, 11, 20, 6),
    ]
]
# How far a read reaches: the reader's client has one reminder, a day before.
BEFORE, AHEAD = timedelta(days=1), timedelta(days=15)
EVENTS_PER_FILE = 40

ZONES = [
    "Asia/Jerusalem", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles",
    "America/Sao_Paulo", "Asia/Kolkata", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland", "Africa/Cairo",
    "America/St_Johns", "Pacific/Chatham", "America/Santiago", "Europe/Lisbon", "UTC",
]
WINDOWS_NAMES = {
    "Asia/Jerusalem": ["Israel Standard Time", "(UTC+02:00) Jerusalem"],
    "Europe/Berlin": ["W. Europe Standard Time", "(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna"],
    "Europe/London": ["GMT Standard Time"],
    "America/New_York": ["Eastern Standard Time", "(UTC-05:00) Eastern Time (US & Canada)"],
    "America/Los_Angeles": ["Pacific Standard Time"],
    "Australia/Sydney": ["AUS Eastern Standard Time"],
    "Pacific/Auckland": ["New Zealand Standard Time"],
    "Africa/Cairo": ["Egypt Standard Time"],
    "Asia/Kolkata": ["India Standard Time"],
    "UTC": ["(UTC) Coordinated Universal Time", "tzone://Microsoft/Utc", "Etc/UTC"],
}
# Zones whose rules have not changed since 2014, as a file describes them: summer time, winter time.
DESCRIBED = {
    "Asia/Jerusalem": (
        "0200", "0300", "BYMONTH=3;BYDAY=FR;BYMONTHDAY=23,24,25,26,27,28,29", "BYMONTH=10;BYDAY=-1SU", "020000",
    ),
    "Europe/Berlin": ("0100", "0200", "BYMONTH=3;BYDAY=-1SU", "BYMONTH=10;BYDAY=-1SU", "030000"),
    "America/New_York": ("-0500", "-0400", "BYMONTH=3;BYDAY=2SU", "BYMONTH=11;BYDAY=1SU", "020000"),
}
PRIVATE_NAMES = [
    "Clinic Time", "Customized Time Zone", "tzone://Microsoft/Custom", "Jerusalem, Israel", "(GMT+01:00) Here; there",
]
REGISTRIES = ["/mozilla.org/20050126_1/", "/citadel.org/20190914_1/", "/freeassociation.sourceforge.net/"]
WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
CALLED_OFF = ["Canceled: ", "Cancelled: ", "בוטל: ", "Abgesagt: ", "Annulé : "]
TITLES = {"utf-8": "Termin für נועה", "windows-1255": "פגישה - נועה", "iso-8859-1": "Séance - Zoé"}


def identify_slot(time):
    """In place of the oracle's own function, which also takes a local time for the UTC time of the same digits."""
    if isinstance(time, datetime) and time.tzinfo is not None:
        return (time.astimezone(timezone.utc).replace(tzinfo=None),)
    return ORIGINAL_IDENTIFY_SLOT(time)


ORIGINAL_IDENTIFY_SLOT = oracle_series.to_recurrence_ids
oracle_series.to_recurrence_ids = oracle_component.to_recurrence_ids = identify_slot


class Event:
    """One event: its lines by the standard, and as a program really writes it."""

    def __init__(self, uid, phone, kind):
        self.uid, self.phone, self.kind = uid, phone, kind
        self.clean, self.wild = [], []
        # Why tellonce may refuse it, if it may.
        self.refusal = None
        self.behind_end = False
        self.zone_descriptions = {}


def utc(moment):
    return moment.astimezone(timezone.utc)


def in_zone(local, zone):
    """The moment of a local time: of two, the first. A skipped time lies behind the gap."""
    return utc(local.replace(tzinfo=ZoneInfo(zone)))


def stamp(local):
    return local.strftime("%Y%m%dT%H%M%S")


class Writer:
    """Writes the values of one event, clean and wild."""

    def __init__(self, rng, zone, event, default_zone):
        self.rng, self.zone, self.event, self.default_zone = rng, zone, event, default_zone
        self.tzid = self.choose_tzid()

    def choose_tzid(self):
        rng, zone = self.rng, self.zone
        roll = rng.random()
        if zone in DESCRIBED and roll < 0.2:
            name = rng.choice(PRIVATE_NAMES)
            self.event.zone_descriptions[name] = zone
        elif zone in WINDOWS_NAMES and roll < 0.4:
            name = rng.choice(WINDOWS_NAMES[zone])
        elif "/" in zone and roll < 0.5:
            name = rng.choice(REGISTRIES) + zone
        else:
            name = zone
        quoted = '"' in name or ";" in name or rng.random() < 0.3
        return f'"{name}"' if quoted else rng.choice([name, name.replace(",", "\\,")])

    def wild_utc(self, moment):
        """A moment in UTC, in one of the forms that programs write."""
        text, rng = stamp(moment), self.rng
        forms = [text + "Z"] * 4 + [
            text + ".000Z", text + " UTC", text + "+0000", text + "000Z", moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"), text.lower() + "z",
        ]
        if moment.second == 0:
            forms.append(moment.strftime("%Y%m%dT%H%MZ"))
            if moment.minute == 0:
                forms.append(moment.strftime("%Y%m%dT%HZ"))
        return rng.choice(forms)

    def wild_local(self, local):
        forms = [stamp(local)] * 4
        forms += [local.strftime("%Y-%m-%dT%H:%M:%S"), local.strftime("%Y%m%dT%H:%M:%S"), stamp(local) + ".000"]
        if local.second == 0:
            forms += [local.strftime("%Y%m%dT%H%M"), local.strftime("%Y-%m-%dT%H:%M")]
        return self.rng.choice(forms)

    def clean(self, name, locals_, parameters=""):
        if self.zone == "UTC":
            return f"{name}{parameters}:" + ",".join(stamp(local) + "Z" for local in locals_)
        return f"{name}{parameters};TZID={self.zone}:" + ",".join(map(stamp, locals_))

    def wild(self, name, locals_, parameters="", as_utc=None):
        """The same times in one of the ways to write them."""
        rng = self.rng
        # A local time that happens twice or never has no certain form in UTC.
        moments = [in_zone(local, self.zone) for local in locals_]
        again = [moment.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None, fold=0) for moment in moments]
        is_plain = again == list(locals_)
        if as_utc is None:
            as_utc = is_plain and rng.random() < 0.3
        if as_utc:
            return f"{name}{parameters}:" + ",".join(self.wild_utc(moment) for moment in moments)
        values = ",".join(self.wild_local(local) for local in locals_)
        if self.zone == self.default_zone and rng.random() < 0.5:
            return f"{name}{parameters}:{values}"
        value_type = rng.choice(["", ";VALUE=DATE-TIME"])
        return f"{name}{parameters}{value_type};TZID={self.tzid}:{values}"


def random_rule(rng):
    """A rule without its end, and how many days one step takes."""
    frequency = rng.choices(["DAILY", "WEEKLY", "MONTHLY", "YEARLY", "HOURLY"], [27, 33, 22, 10, 8])[0]
    interval = rng.choice([1, 1, 1, 2, 3, 5]) if frequency != "HOURLY" else rng.choice([1, 6, 12, 23, 24, 36])
    parts = [f"FREQ={frequency}"]
    if interval > 1 or rng.random() < 0.1:
        parts.append(f"INTERVAL={interval}")
    days = ",".join(rng.sample(WEEKDAYS, rng.randint(1, 4)))
    ordinals = ",".join(f"{rng.choice([1, 2, 3, 4, -1, -2])}{day}" for day in rng.sample(WEEKDAYS, rng.randint(1, 2)))
    month_days = ",".join(str(day) for day in rng.sample(list(range(1, 32)) + [-1, -2, -10], rng.randint(1, 3)))
    months = ",".join(map(str, sorted(rng.sample(range(1, 13), rng.randint(4, 9)))))
    if frequency == "DAILY":
        parts += rng.choice([
            [], [], [f"BYDAY={days}"], [f"BYMONTH={months}"], [f"BYMONTHDAY={month_days}"],
            [f"BYDAY={days}", f"BYMONTH={months}"],
        ])
    elif frequency == "WEEKLY":
        parts += rng.choice([
            [], [f"BYDAY={days}"], [f"BYDAY={days}"], [f"BYDAY={days}", f"BYMONTH={months}"],
            [f"BYDAY={days}", "BYSETPOS=-1"],
        ])
        parts += rng.choice([[], [], [f"WKST={rng.choice(WEEKDAYS)}"]])
    elif frequency == "MONTHLY":
        parts += rng.choice([
            [], [f"BYDAY={ordinals}"], [f"BYMONTHDAY={month_days}"], [f"BYDAY={days}"],
            [f"BYDAY={days}", f"BYSETPOS={rng.choice([1, 2, -1, -2])}"], [f"BYDAY={days}", f"BYMONTHDAY={month_days}"],
            [f"BYDAY={ordinals}", f"BYMONTH={months}"],
        ])
    elif frequency == "YEARLY":
        parts += rng.choice([
            [], [f"BYMONTH={months}"], [f"BYMONTH={months}", f"BYDAY={ordinals}"],
            [f"BYMONTH={months}", f"BYMONTHDAY={month_days}"],
            [f"BYYEARDAY={rng.randint(1, 366)},{-rng.randint(1, 366)}"],
            [f"BYWEEKNO={rng.randint(1, 53)}", f"BYDAY={days}"], [f"BYDAY={rng.randint(1, 53)}{rng.choice(WEEKDAYS)}"],
        ])
    elif frequency == "HOURLY":
        parts += rng.choice([[], [], [f"BYDAY={days}"], ["BYHOUR=1,2,3,10"]])
    if frequency in ("DAILY", "WEEKLY", "MONTHLY") and rng.random() < 0.15:
        parts.append("BYHOUR=" + ",".join(map(str, sorted(rng.sample([0, 1, 2, 3, 9, 17], 2)))))
        if rng.random() < 0.5:
            parts.append("BYMINUTE=0,30")
    return parts


def random_local(rng, around, days):
    """A local time near a moment, often at an hour at which clocks change."""
    day = (around + timedelta(days=rng.randint(-days, days))).replace(tzinfo=None)
    hour = rng.choice([0, 1, 1, 2, 2, 3, 3, 8, 10, 12, 15, 18, 23])
    return day.replace(hour=hour, minute=rng.choice([0, 0, 15, 30, 45]), second=0, microsecond=0)


def add_description(rng, event, title):
    """Title and number, on one line or broken by a program that does not fold."""
    event.clean += [f"SUMMARY:{title}", "DESCRIPTION:x"]
    number, farewell = f"Phone: {event.phone}", "עד אז: להתראות" if event.hebrew else "Bye"
    description = rng.choice([
        [f"DESCRIPTION:{number}"],
        [f"DESCRIPTION:Booked online\\n{number}\\nBye"],
        ["DESCRIPTION:Booked online", "Start: 10:00", "End: 10:30", number],
        ["DESCRIPTION:Copied from a mail:", "", "END:VEVENT", number],
        ["DESCRIPTION:Hello", "https://a.example/b", "location: here", number, farewell],
        ["DESCRIPTION:Paid", "STATUS: CANCELLED", "URL: https://a.example/b", number],
    ])
    wild_title = [f"SUMMARY:{title}"]
    event.wild += rng.sample([description, wild_title], 2)


def random_event(rng, uid, phone, default_zone, charset):
    now = rng.choice(NOWS)
    event = Event(uid, phone, "single")
    event.hebrew = charset in ("utf-8", "windows-1255", "utf-16")
    zone = default_zone if rng.random() < 0.3 else rng.choice(ZONES)
    writer = Writer(rng, zone, event, default_zone)
    title = TITLES.get(charset, TITLES["utf-8"])
    masters_clean, masters_wild, parts = [], [], []
    start = random_local(rng, now + timedelta(days=6), 12)
    occurrences = [start]
    if rng.random() < 0.75:
        event.kind, start, occurrences = add_rule(rng, writer, now, masters_clean, masters_wild)
    masters_clean.append(writer.clean("DTSTART", [start]))
    # A series keeps the clock time of its own zone.
    as_utc = False if event.kind != "single" and zone != "UTC" else None
    masters_wild.append(writer.wild("DTSTART", [start], as_utc=as_utc))
    near = [one for one in occurrences if abs(one - now.replace(tzinfo=None)) < timedelta(days=25)]
    near = near or occurrences[-3:]
    if event.kind != "single":
        add_dates(rng, writer, start, near, masters_clean, masters_wild)
    called_off = rng.random() < 0.05
    if called_off:
        masters_clean.append("STATUS:CANCELLED")
        mark = rng.choice(["X-MICROSOFT-CDO-BUSYSTATUS:FREE", "TRANSP:TRANSPARENT"])
        masters_wild += rng.choice([["STATUS:CANCELLED"], ["STATUS:CONFIRMED", mark]])
    prefix = ""
    if called_off and "STATUS:CONFIRMED" in masters_wild:
        prefix = rng.choice([one for one in CALLED_OFF if one == one.encode(charset, "ignore").decode(charset)])
    if rng.random() < 0.04:
        spoil(rng, event, masters_wild)
    parts.append((masters_clean, masters_wild, prefix + title))
    if event.kind != "single":
        parts += random_exceptions(rng, writer, event, near, title)
    for clean, wild, one_title in parts:
        one = Event(uid, phone, event.kind)
        one.hebrew = event.hebrew
        add_description(rng, one, one_title)
        event.clean.append(["BEGIN:VEVENT", f"UID:{uid}", *clean, *one.clean, "DURATION:PT30M", "END:VEVENT"])
        wild_lines = [[line] for line in wild] + one.wild
        rng.shuffle(wild_lines)
        alarm = ["BEGIN:VALARM", "DESCRIPTION:Phone: +972500000000", "END: 10:30", "END:VALARM"]
        if rng.random() < 0.1:
            wild_lines.append(alarm)
        event.wild.append(["BEGIN:VEVENT", f"UID:{uid}", *sum(wild_lines, []), "DURATION:PT30M", "END:VEVENT"])
    event.behind_end = rng.random() < 0.03
    return event


def add_rule(rng, writer, now, clean, wild):
    """Adds a rule. Returns the kind of series, its start, and its first occurrences by the rule."""
    rule = random_rule(rng)
    hourly = rule[0] == "FREQ=HOURLY"
    oldest = 40 if hourly else rng.choice([20, 60, 400, 1500, 3500])
    wanted = random_local(rng, now - timedelta(days=rng.randint(0, oldest)), 3)
    # The standard leaves open what a start means that does not match its rule.
    try:
        start = next(iter(rrulestr(";".join(rule), dtstart=wanted)), None)
    except ValueError:
        start = None
    if start is None or start > datetime(2027, 1, 15):
        rule, start = ["FREQ=WEEKLY"], wanted
    horizon = datetime(2027, 2, 1)
    occurrences = rrulestr(";".join(rule), dtstart=start).between(start, horizon, inc=True)
    end = rng.random()
    if end < 0.2:
        rule.append(f"COUNT={rng.choice([1, 2, 5, 20, len(occurrences), rng.randint(1, len(occurrences) + 3)])}")
        occurrences = list(rrulestr(";".join(rule), dtstart=start))
    wild_rule = list(rule)
    if end > 0.55:
        choices = [rng.choice(occurrences), rng.choice(occurrences[-5:]), random_local(rng, now, 20)]
        last = max(start, rng.choice(choices))
        until = in_zone(last, writer.zone)
        occurrences = [one for one in occurrences if in_zone(one, writer.zone) <= until]
        rule.append(f"UNTIL={stamp(until)}Z")
        if rng.random() < 0.2:
            # A date includes its day.
            end_of_day = last.replace(hour=23, minute=59, second=59)
            rule[-1] = f"UNTIL={stamp(in_zone(end_of_day, writer.zone))}Z"
            wild_rule.append(f"UNTIL={last:%Y%m%d}")
        else:
            wild_rule.append(f"UNTIL={writer.wild_utc(until).replace(' ', '')}")
    if rng.random() < 0.1:
        wild_rule = ["RSCALE=GREGORIAN"] + wild_rule + rng.choice([[], ["SKIP=OMIT"]])
    clean.append("RRULE:" + ";".join(rule))
    wild.append("RRULE:" + ";".join(wild_rule))
    return rule[0][5:].lower(), start, occurrences or [start]


def add_dates(rng, writer, start, near, clean, wild):
    """Adds excluded and further dates, or empty lists of them."""
    for _ in range(rng.choice([0, 0, 1, 2])):
        excluded = rng.sample(near, min(len(near), rng.randint(1, 2)))
        clean.append(writer.clean("EXDATE", excluded))
        wild.append(writer.wild("EXDATE", excluded))
    if rng.random() < 0.15:
        places = rng.sample(near, min(len(near), 2))
        further = [random_local(rng, one.replace(tzinfo=timezone.utc), 9) for one in places]
        further = [one for one in further if one > start] or [start + timedelta(days=1, hours=1)]
        clean.append(writer.clean("RDATE", further))
        wild.append(writer.wild("RDATE", further))
    if rng.random() < 0.1:
        wild.append(rng.choice(["EXDATE:", f"EXDATE;TZID={writer.tzid}:", "RDATE:", "RDATE;VALUE=DATE:"]))


def random_exceptions(rng, writer, event, near, title):
    """Moved and cancelled occurrences: clean lines, wild lines and title of each."""
    parts = []
    slots = rng.sample(near, min(len(near), rng.choice([0, 0, 1, 2])))
    for slot in slots:
        clean, wild = [writer.clean("RECURRENCE-ID", [slot])], [writer.wild("RECURRENCE-ID", [slot])]
        moved = slot + rng.choice([
            timedelta(hours=1), timedelta(days=1, hours=-2), timedelta(minutes=30), timedelta(days=-3),
            timedelta(days=11),
        ])
        clean.append(writer.clean("DTSTART", [moved]))
        wild.append(writer.wild("DTSTART", [moved]))
        if rng.random() < 0.3:
            clean.append("STATUS:CANCELLED")
            wild.append("STATUS:CANCELLED")
        for lines in (clean, wild):
            lines.append("SEQUENCE:1")
        parts.append((clean, wild, title))
    # If the clocks skip an hour, it and the next one are one occurrence to tellonce and two to the oracle, and an
    # exception for all later ones tells them apart.
    are_neighbours = any(later - one <= timedelta(hours=1) for one, later in zip(near, near[1:]))
    if not slots and not are_neighbours and rng.random() < 0.25:
        slot = rng.choice(near)
        moved = slot + rng.choice([timedelta(hours=2), timedelta(hours=-1), timedelta(minutes=45)])
        clean = [writer.clean("RECURRENCE-ID", [slot], ";RANGE=THISANDFUTURE")]
        clean += [writer.clean("DTSTART", [moved]), "SEQUENCE:1"]
        wild = [writer.wild("RECURRENCE-ID", [slot], ";RANGE=THISANDFUTURE", as_utc=False)]
        wild += [writer.wild("DTSTART", [moved], as_utc=False), "SEQUENCE:1"]
        event.kind += ", this and future"
        parts.append((clean, wild, title))
    return parts


def spoil(rng, event, wild):
    """Makes an event one that tellonce must not guess."""
    place = next(number for number, line in enumerate(wild) if line.startswith("DTSTART"))
    value = wild[place].rsplit(":", 1)[1] if "T" in wild[place] else "20261124T1000"
    reason, line = rng.choice([
        ("unknown zone", "DTSTART;TZID=Nowhere/Somewhere:20261124T100000"),
        ("unknown zone", "DTSTART;TZID=\"(UTC+02:00) Somewhere\":20261124T100000"),
        ("malformed time", "DTSTART:20261124T100000 EST"),
        ("malformed time", "DTSTART:20261124T1000000Z"),
        ("malformed time", f"DTSTART:{value[:4]}-1-5T10:00:00Z"),
        ("malformed rule", "RRULE:RSCALE=HEBREW;FREQ=YEARLY"),
        ("malformed rule", "RRULE:FREQ=MONTHLY;BYMONTHDAY=31;SKIP=FORWARD"),
        ("malformed rule", "EXRULE:FREQ=WEEKLY"),
    ])
    if line.startswith("DTSTART"):
        wild[place] = line
    else:
        wild.append(line)
    event.refusal = reason


def describe_zone(name, zone):
    """A VTIMEZONE, as programs write it."""
    winter, summer, to_summer, to_winter, back = DESCRIBED[zone]
    winter, summer = (offset if offset.startswith("-") else f"+{offset}" for offset in (winter, summer))
    name = name.replace(",", "\\,").replace(";", "\\;")
    return [
        "BEGIN:VTIMEZONE", f"TZID:{name}",
        "BEGIN:STANDARD", f"DTSTART:19701101T{back}", f"RRULE:FREQ=YEARLY;{to_winter}",
        f"TZOFFSETFROM:{summer}", f"TZOFFSETTO:{winter}", "END:STANDARD",
        "BEGIN:DAYLIGHT", "DTSTART:19700301T020000", f"RRULE:FREQ=YEARLY;{to_summer}",
        f"TZOFFSETFROM:{winter}", f"TZOFFSETTO:{summer}", "END:DAYLIGHT", "END:VTIMEZONE",
    ]


def write_file(rng, lines, charset):
    """The bytes of a body: lines folded anywhere, with one of the line ends."""
    end = rng.choice([b"\r\n", b"\r\n", b"\n", b"\r\r\n", b"\r"])
    body = b""
    wide = charset == "utf-16"
    for line in lines:
        encoded = line.encode("utf-8" if wide else charset)
        if len(encoded) > 40 and ":" in line and rng.random() < 0.4 and not wide:
            cut = rng.randrange(20, len(encoded))
            encoded = encoded[:cut] + end + b" " + encoded[cut:]
        body += encoded + end
    return body.decode("utf-8").encode("utf-16") if wide else body


def random_file(rng, number, events):
    """A file: its events by UID, the clean calendar, the bytes, and the character set that its host declares."""
    charset = rng.choices(["utf-8", "windows-1255", "iso-8859-1", "utf-16"], [70, 10, 10, 10])[0]
    calendars = rng.choice([1, 1, 2, 3])
    lines, clean, by_uid = [], [], {}
    for calendar in range(calendars):
        own_zone = rng.choice([None, None, "Europe/Berlin", "America/New_York", "Asia/Jerusalem"])
        is_cancelled = rng.random() < 0.05
        header = ["VERSION:2.0", "PRODID:-//a//b//EN"]
        if own_zone:
            header.append(f"X-WR-TIMEZONE:{own_zone}")
        if is_cancelled:
            header.append("METHOD:CANCEL")
        inside, behind, descriptions = [], [], {}
        for place in range(events // calendars):
            uid = f"{number}-{calendar}-{place}@a.example"
            phone = f"+9725255{number % 1000:03}{place:02}"
            event = random_event(rng, uid, phone, own_zone or CLIENT_ZONE, charset)
            # One name means one zone in a calendar.
            if any(descriptions.get(name, zone) != zone for name, zone in event.zone_descriptions.items()):
                continue
            descriptions.update(event.zone_descriptions)
            by_uid[uid] = event
            for one in event.clean:
                if is_cancelled:
                    one = [line for line in one if not line.startswith("STATUS:")]
                    one[2:2] = ["STATUS:CANCELLED"]
                clean += one
            for one in event.wild:
                (behind if event.behind_end else inside).extend(one)
        zones = sum((describe_zone(name, zone) for name, zone in descriptions.items()), [])
        if rng.random() < 0.1:
            behind, zones = behind + zones, []
        lines += ["BEGIN:VCALENDAR", *header, *zones, *inside, "END:VCALENDAR", *behind]
    oracle = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//a//b//EN", *clean, "END:VCALENDAR", ""])
    declared = charset if charset in ("windows-1255", "iso-8859-1") else rng.choice([None, "utf-8", "iso-8859-1"])
    return by_uid, oracle, write_file(rng, lines, charset), declared


def expected_starts(oracle):
    """The starts in the window of each read, by the other implementation."""
    query = recurring_ical_events.of(icalendar.Calendar.from_ical(oracle))
    for now in NOWS:
        begin, end = now - BEFORE, now + AHEAD
        starts = set()
        for event in query.between(begin - timedelta(days=2), end + timedelta(days=2)):
            start = utc(event["DTSTART"].dt)
            if begin <= start < end and event.get("STATUS") != "CANCELLED":
                starts.add((str(event["UID"]), start.strftime("%Y-%m-%dT%H:%M:%SZ")))
        yield starts


class Comparison:
    def __init__(self):
        self.counts, self.refusals, self.kinds = (collections.Counter() for _ in range(3))
        self.failures = []

    def compare(self, file, by_uid, expected, reads):
        for now, wanted, read in zip(NOWS, expected, reads):
            self.counts["reads"] += 1
            if "unreadable" in read:
                self.failures.append((file, now, "unreadable", read["unreadable"]))
                continue
            found, refused = set(), read["not_understood"]
            for one in read["occurrences"]:
                uid = one["id"].rsplit("/", 1)[0]
                if one["status"] == "booked":
                    found.add((uid, one["start"]))
                    if one["phone"] != by_uid[uid].phone:
                        self.failures.append((file, now, "wrong number", uid))
            self.counts["starts"] += len(wanted)
            for uid, start in found - wanted:
                self.failures.append((file, now, "wrong start", f"{uid} at {start}"))
            for uid, start in wanted - found:
                if uid not in refused:
                    self.failures.append((file, now, "lost", f"{uid} at {start}"))
            for uid, reason in refused.items():
                if by_uid[uid].refusal is None:
                    self.failures.append((file, now, "refused", f"{uid}: {reason}"))
                elif now == NOWS[0]:
                    self.refusals[by_uid[uid].refusal] += 1
            for uid in read["without_number"]:
                self.failures.append((file, now, "without number", uid))
        for event in by_uid.values():
            self.counts["events"] += 1
            self.kinds[event.kind] += 1


def main():
    parser = argparse.ArgumentParser(description="Compares calendars with another implementation.")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", type=pathlib.Path, default=READER)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the files")
    arguments = parser.parse_args()
    folder = arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="calendars-"))
    folder.mkdir(parents=True, exist_ok=True)
    comparison = Comparison()
    nows = [now.strftime("%Y-%m-%dT%H:%M:%SZ") for now in NOWS]
    if not arguments.reader.exists():
        sys.exit(f"{arguments.reader} is missing; run: cargo build --workspace --examples --locked")
    with subprocess.Popen([arguments.reader], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        number = 0
        while comparison.counts["events"] < arguments.events:
            rng = random.Random(f"{arguments.seed}:{number}")
            by_uid, oracle, body, charset = random_file(rng, number, EVENTS_PER_FILE)
            file = folder / f"{number}.ics"
            file.write_bytes(body)
            print(json.dumps({"file": str(file), "charset": charset, "nows": nows}), file=reader.stdin, flush=True)
            expected = list(expected_starts(oracle))
            before = len(comparison.failures)
            comparison.compare(file.name, by_uid, expected, json.loads(reader.stdout.readline()))
            if len(comparison.failures) > before:
                file.with_suffix(".oracle.ics").write_text(oracle)
            elif not arguments.keep:
                file.unlink()
            number += 1
        reader.stdin.close()
    report(comparison, folder, arguments)
    sys.exit(1 if comparison.failures else 0)


def count_text(counts):
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"


def report(comparison, folder, arguments):
    counts = comparison.counts
    print(f"seed {arguments.seed}: {counts['events']} events, {counts['reads']} reads, {counts['starts']} starts")
    print("kinds: " + count_text(comparison.kinds))
    print("refused and named: " + count_text(comparison.refusals))
    print("failures: " + count_text(collections.Counter(failure[2] for failure in comparison.failures)))
    for file, now, why, what in comparison.failures[:40]:
        print(f"  {folder / file} at {now:%Y-%m-%dT%H:%MZ}: {why}: {what}")


if __name__ == "__main__":
    main()
