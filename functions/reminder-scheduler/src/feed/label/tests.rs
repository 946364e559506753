//! Labels and their values in texts of every shape.

use proptest::prelude::*;

use super::*;

fn labels(after: &[&str]) -> TextLabels {
    let after = after.iter().map(|&label| label.to_owned()).collect();
    TextLabels::new(&FeedTextRule { field: "description".into(), after })
}

/// The number that the usual labels select, `""` without a number, and `-` without a label.
fn number(text: &str) -> String {
    match labels(&["Phone:", "Phone", "tel:"]).find_number(text) {
        LabelledNumber::Numbers(numbers) => numbers.iter().map(WrittenNumber::text).collect::<Vec<_>>().join(" and "),
        LabelledNumber::NumberAndExtension => "extension too".to_owned(),
        LabelledNumber::Extension => "extension".to_owned(),
        LabelledNumber::Whole(_) => panic!("{text}"),
        LabelledNumber::NoNumber => String::new(),
        LabelledNumber::DialIn => "dial-in".to_owned(),
        LabelledNumber::Missing => "-".to_owned(),
    }
}

/// A number without a word behind it.
fn digits(text: &str) -> LabelledNumber {
    LabelledNumber::Numbers(vec![WrittenNumber::new(text, &[])])
}

const NOA: &str = "054-555-0199";

#[test]
fn a_label_stands_at_the_start_of_a_line_or_behind_a_separator() {
    for before in [
        "",
        "  ",
        "x\n",
        "x\r\n\t",
        "Haircut | ",
        "Haircut|",
        "Name: Noa, ",
        "Name: Noa, Age: 34, ",
        "{\"name\": \"Noa\", ",
        "Noa; ",
        "Noa\t",
        "Noa / ",
        "Noa • ",
        "(",
        "* ",
        "- ",
        "Noa - ",
        "Noa – ",
        "> ",
        "📞 ",
        "1. ",
        "12) ",
        "- 2. ",
        "📞 *",
        "\"",
        "Name: Noa | 📞 ",
        "Name: Noa | **",
        "Guest: ",
        "Name: Noa | Guest ",
        "noa@example.com ",
        "Name: Noa E-mail: noa@example.com ",
        "Booking: BK-12345 ",
        "https://example.com/a ",
        "BK-12345 ",
        "Name: Noa\u{2028}",
        "<p>Noa</p>",
        "Noa<br>",
        "Attendee ",
        "Guest\u{2019}s ",
        "x\nCustomer ",
        "**",
        "&lt;b&gt;",
    ] {
        assert_eq!(number(&format!("{before}Phone: {NOA}")), NOA, "{before:?}");
    }
    for before in [
        "Business ",
        "Host ",
        "Our ",
        "Business\u{a0}",
        "Fax & ",
        "Fax/",
        "Tele-",
        "Bus. ",
        "Business Guest ",
        "Head",
        "Clinic's ",
        "Branch 2 ",
        "<b>Business</b> ",
        "Business <b>",
        "Call ",
        "_",
        "Join by ",
        "טלפון ",
        "Questions? ",
        "Need help? ",
        "See you soon! ",
        "See you soon 😊 ",
        "Please arrive early. ",
        "First visit. ",
        "To cancel (",
        "To cancel, ",
        "For changes: ",
        "Booked via studio@example.com ",
        "Visit https://studio.example ",
        "Studio Haifa 33031 ",
        "Business (",
        "Business, ",
        "Noa, ",
        "Name: Noa, Haifa, ",
        "Fax: ",
        "Noa– ",
        "Call our guest ",
        "Questions? | ",
        "Questions? - ",
        "Contact us - ",
        "Practitioner: Dr. Dan - ",
        "Host: Dana, ",
    ] {
        assert_eq!(number(&format!("{before}Phone: 03-555-0123")).trim_matches('-'), "", "{before:?}");
        assert_eq!(number(&format!("{before}Phone: 03-555-0123\nPhone: {NOA}")), NOA, "{before:?}");
    }
}

#[test]
fn a_label_without_a_colon_stands_at_the_start_of_a_line() {
    for text in [
        "Phone 054-555-0199",
        "- Phone 054-555-0199",
        "1. Phone\n054-555-0199",
        "Guest Phone 054-555-0199",
        "\"Phone\" 054-555-0199",
        "Phone 054-555-0199 Noa",
    ] {
        assert_eq!(number(text), NOA, "{text}");
    }
    for text in [
        "Questions? Phone 054-555-0199",
        "Noa | Phone 054-555-0199",
        "See you soon! Phone 054-555-0199",
        "To cancel (phone 054-555-0199)",
        "To cancel, phone 054-555-0199",
        "For changes: phone 054-555-0199",
        "Name: Noa, Phone 054-555-0199",
        "noa@example.com Phone 054-555-0199",
        "Phone 054-555-0199 to cancel",
        "\"Phone 054-555-0199 for changes\"",
    ] {
        assert_eq!(number(text), "", "{text}");
    }
}

#[test]
fn of_two_different_numbers_behind_a_label_none_counts() {
    let parse = |text: &str| {
        let found = labels(&["Phone:", "Phone", "tel:"]).find_number(text);
        found.parse("IL", PhoneRule::Possible).map(|phone| phone.expose().to_owned())
    };
    for text in [
        "Host details:\nName: Studio\nPhone: 052-555-0101\n\nGuest details:\nName: Noa\nPhone: 054-555-0199",
        "Business: Clinic\nPhone: 03-555-0123\nCustomer: Noa\nPhone: 054-555-0199",
        "Phone: 054-555-0199\n--\nPhone: 052-555-0101",
        "Phone 054-555-0199\nPhone: 052-555-0101",
        "Phone: 054-555-0199 | Phone: 052-555-0101",
        "Phone: 03-555-0123 ext. 5\nPhone: 054-555-0199",
    ] {
        assert_eq!(parse(text), Err(PhoneError::TwoNumbers), "{text}");
    }
    for text in [
        "Phone: 054-555-0199\nPhone: +972 54 555 0199",
        "Phone: 054-555-0199\nPhone: 054-555-0199",
        "Phone: +1 646-558-8656 PIN: 123#\nPhone: 054-555-0199",
        "Phone: 054-555-0199\nOne tap mobile\nPhone: +1 646-558-8656",
        "Phone: 054-555-0199\ntel: 052-555-0101",
        "tel: 052-555-0101\nPhone: 054-555-0199",
        "Phone: none\nPhone: 054-555-0199",
        "Phone: 054-555-0199\nQuestions? Phone: 052-555-0101",
    ] {
        assert_eq!(parse(text).as_deref(), Ok("+972545550199"), "{text}");
    }
}

#[test]
fn a_number_below_a_heading_of_the_business_is_no_customers() {
    for heading in ["Contact us:", "Business info", "Provider\nDr. Dan", "Host details:\nName: Studio", "* Organizer *"]
    {
        assert_eq!(number(&format!("{heading}\nPhone: {NOA}")), "", "{heading}");
        assert_eq!(number(&format!("{heading}\n\nPhone: {NOA}")), NOA, "{heading}");
        assert_eq!(number(&format!("{heading}\nGuest details\nPhone: {NOA}")), NOA, "{heading}");
    }
    for line in ["Contact:", "Host: Dana", "Business lunch", "Customer", "Organizer of the trip: Noa"] {
        assert_eq!(number(&format!("{line}\nPhone: {NOA}")), NOA, "{line}");
    }
}

#[test]
fn case_spaces_and_the_kind_of_colon_make_no_difference() {
    for label in [
        "phone:",
        "PHONE :",
        "Phone\u{a0}:",
        "Phone \t : ",
        "Phone：",
        "\u{200f}Phone\u{200f}:",
        "Ｐｈｏｎｅ:",
        "Phone",
    ] {
        assert_eq!(number(&format!("{label} {NOA}")), NOA, "{label}");
    }
    let hebrew = labels(&["מספר טלפון:", "טלפון:"]);
    let find = |text: &str| hebrew.find_number(text);
    let noa = || digits("054-5550199");
    for text in ["לקוח: נועה\nטלפון: 054-5550199", "טלפון : 054-5550199", "מספר\u{a0} טלפון：\n054-5550199"]
    {
        assert_eq!(find(text), noa(), "{text}");
    }
    for text in ["טלפון העסק: 03-5550123", "וטלפון: 054-5550199", "מספר טלפון"] {
        assert_ne!(find(text), noa(), "{text}");
    }
    let accented = labels(&["Te\u{301}le\u{301}phone :"]);
    assert_eq!(accented.find_number("TÉLÉPHONE : 1234567"), digits("1234567"));
}

#[test]
fn the_first_label_of_the_list_with_a_number_counts_and_the_longest_at_one_place() {
    assert_eq!(number("tel:1234567\nPhone: 2345678"), "2345678");
    assert_eq!(number("Phone: see below\nPhone: none\ntel: 2345678"), "2345678");
    let (short, long) = (labels(&["Phone"]), labels(&["Phone", "Phone 2:"]));
    assert_eq!(short.find_number("Phone 2: 1234567"), LabelledNumber::NoNumber);
    assert_eq!(long.find_number("Phone 2: 1234567\nPhone 3456789"), digits("3456789"));
    assert_eq!(long.find_number("Phone 2: 1234567"), digits("1234567"));
    assert_eq!(labels(&[]).find_number(" 054-555-0199\n"), LabelledNumber::Whole(NOA.to_owned()));
    assert_eq!(labels(&[]).find_number("<br> "), LabelledNumber::Missing);
}

#[test]
fn the_first_number_directly_behind_a_label_counts() {
    for text in [
        "Phone: 054-555-0199 or 03-555-0123",
        "Phone: 054-555-0199, 052-555-0101",
        "Phone: 054-555-0199 Noa Levi",
        "Phone:054-555-0199;",
        "Phone - 054-555-0199",
        "Phone = \"054-555-0199\"",
        "**Phone:** 054-555-0199",
        "Phone: 📱 054-555-0199",
        "Phone: tel:054-555-0199",
        "Phone:\n054-555-0199",
        "Phone:\r\n\r\n  054-555-0199",
        "Phone\n: 054-555-0199",
        "<b>Phone:</b> 054-555-0199<br>Name: Noa",
        "<b>Phone</b><br/>054-555-0199",
        "Phone:&nbsp;054-555-0199&nbsp;<br/>",
        "Phone: <a href=\"tel:+97235550123\">054-555-0199</a>",
        "<tr><td>Phone</td><td>054-555-0199</td></tr>",
        "&lt;b&gt;Phone:&lt;/b&gt; 054-555-0199&lt;br&gt;",
        "&lt;p&gt;Phone&lt;/p&gt;&lt;p&gt;054-555-0199&lt;/p&gt;",
    ] {
        assert_eq!(number(text), NOA, "{text}");
    }
    for text in [
        "Phone:",
        "Phone: ",
        "Phone: none, 054-555-0199",
        "Phone: -\n054-555-0199",
        "Phone: Noa 054-555-0199",
        "Phone:\nName: 054-555-0199",
        "Phone:\n\n\n054-555-0199",
        "Phones: 054-555-0199",
        "Phone: <unclosed",
        "Phone:\n2026-11-24 10:00",
        "Phone:\n12 Herzl St.",
        "Phone me: 054-555-0199",
    ] {
        assert_eq!(number(text).trim_start_matches('-'), "", "{text}");
    }
    assert_eq!(number("Phone: 03-555-0123 ext. 12"), "extension");
    assert_eq!(number("Phone: 054-555-0199 10:30"), NOA);
    assert_eq!(number("Phone: IL +972 54-555-0199"), "+972 54-555-0199");
    assert_eq!(number("Telephone 054-555-0199"), "-");
}

#[test]
fn digits_behind_a_number_are_not_part_of_it() {
    let parse = |text: &str| {
        let found = labels(&["Phone:"]).find_number(text);
        found.parse("IL", PhoneRule::Possible).map(|phone| phone.expose().to_owned())
    };
    for text in [
        "Phone: 054-555-0199 2 kids",
        "Phone: 054 555 0199 12 34",
        "Phone: 054-555-0199 - 3",
        "Phone: 054 555 01 99 Noa",
        "Phone: 054-555-0199 052-555-0101",
        "Phone: 054 555 0199 052 555 0101",
        "Phone: +972 54 555 0199 052 555 0101",
        "Phone: 972 54 555 0199 972 52 555 0101",
        "Phone: 054-555-0199 24/11 at 10:30",
    ] {
        assert_eq!(parse(text).as_deref(), Ok("+972545550199"), "{text}");
    }
    // German numbers have several lengths.
    let german = |text: &str| {
        let found = labels(&["Phone:"]).find_number(text);
        found.parse("DE", PhoneRule::Possible).map(|phone| phone.expose().to_owned())
    };
    assert_eq!(german("Phone: 0171 3920012 5 Personen"), Err(PhoneError::TwoNumbers));
    assert_eq!(german("Phone: 0171 3920012 Noa").as_deref(), Ok("+491713920012"));
    assert_eq!(german("Phone: 0171 3920012 0171 3920013").as_deref(), Ok("+491713920012"));
    assert_eq!(parse("Phone: 054-555-01990"), Err(PhoneError::NotMobile), "no digit of a number is left out");
    assert_eq!(parse("Phone: 03-555-0123 2 kids"), Err(PhoneError::NotMobile));
    assert_eq!(parse("Phone: 054-555-0199 ext. 2"), Err(PhoneError::Extension));
    assert_eq!(
        labels(&[]).find_number("054-555-0199 2 kids").parse("IL", PhoneRule::Possible),
        Err(PhoneError::Letters)
    );
}

#[test]
fn the_number_of_a_conference_is_no_customers() {
    for text in [
        "Phone: +1 646-558-8656,,123456789#",
        "Phone: +16465588656,,81234567890#,,,,*1234#",
        "Phone: +1 646-558-8656 PIN: 123 456 789#",
        "Phone: +1 646-558-8656 (Conference ID 123456789)",
        "One tap mobile\nPhone: +1 646-558-8656",
        "Join by phone:\nPhone: +1 646-558-8656",
        "Dial-in details\ntel:+16465588656",
        "Phone: +1 (650) 419-1505\nAccess Code / Meeting ID: 123456789",
        "Phone:\n+1 646-558-8656\nPasscode: 1234",
        "Phone: 646-558-8656<br>Phone Conference ID: 123 456 789#",
        "Phone: +972 55-330-1762\n\nAccess code: 2345 678",
        "Phone:\n+972 55-330-1762\n\nPIN:\n123 456#",
        "Join by phone\n\nPhone: +972 55 330 1762",
        "Join by phone\nUnited States: +1 646 558 8656\nPhone: +972 55 330 1762",
        "Phone: +972 55-330-1762\nMeeting access code: 2345",
        "Phone: +972 55-330-1762\nYour PIN: 2345",
        "Phone: +972 55-330-1762\nParticipant passcode: 2345",
        "Phone: +972 55-330-1762\nID: 964 1234 5678#",
        "Phone: +972 55-330-1762 pw 2345#",
        "Phone: +972 55-330-1762 (Israel) - Meeting ID 234 567",
        "Dial-in details\n\nPhone: +972 55-330-1762\nCode: 2345#",
        "Conference bridge\nPhone: 055-330-1762",
        "Zoom\nPhone: 055-330-1762",
        "Skype: Join by phone\nPhone: 055-330-1762\nConference ID: 2345",
        "Audio:\nPhone: 055-330-1762\nPIN: 2345#",
        "Phone: 055-330-1762 PIN 2345#",
        "Phone: 055-330-1762,,2345#",
    ] {
        assert_eq!(number(text), "dial-in", "{text}");
    }
    for text in [
        "Join by phone: +1 646-558-8656,,123#",
        "Join with Google Meet: https://meet.example.com/abc\nOr dial: (US) +1 646-558-8656 PIN: 123456789#\n\
         More phone numbers: https://tel.example.com/abc",
        "Call in (audio only)\n+1 323-849-4874,,123456789# United States\nPhone conference ID: 123 456 789#",
        "Phone one-tap: US: +16465588656,,123# or +13126266799,,123#",
        "Dial in using your phone.\nUnited States: +1 (571) 317-3122\n\nAccess Code: 123-456-789",
        "Phone: (US) +1 646-558-8656",
    ] {
        assert_eq!(number(text), "", "{text}");
        assert_eq!(number(&format!("{text}\n\nPhone: {NOA}")), NOA, "{text}");
        assert_eq!(number(&format!("Phone: {NOA}\n{text}")), NOA, "{text}");
    }
    for text in [
        "Phone: 054-555-0199\nMeeting ID: 812 3456 7890",
        "Phone: 054-555-0199, gate PIN: 4455",
        "Phone: +972 54-555-0199\nPIN for the gate: 4455",
        "Phone: +972 54-555-0199\nPin board in the hall",
        "Phone: +972 54-555-0199, gate PIN: 4455",
        "Phone: 054-555-0199\nGate code: 4455#",
        "Phone: +972 54-555-0199\nDoor PIN: 4455#",
        "Phone: +972 54-555-0199\nBooking ID: 83920",
        "Phone: +972 54-555-0199\nID: 123456789",
        "Phone: 054-555-0199\n\nConference ID: 83920",
        "Where:\nZoom\nPhone: 054-555-0199",
        "Zoom\n\nPhone: 054-555-0199",
    ] {
        assert_eq!(number(text).replace("+972 ", "0"), NOA, "{text}");
    }
}

#[test]
fn a_name_ends_with_its_line_or_before_another_label() {
    let name = |after: &[&str], text: &str| labels(after).find_line(text, &labels(&["Phone number:", "tel:"]));
    for (text, found) in [
        ("Name: Noa Levi\nPhone number: 1", Some("Noa Levi")),
        ("name : Noa Levi | Phone number: 1", Some("Noa Levi")),
        ("Name: Noa Levi Phone number: 1", Some("Noa Levi")),
        ("Name: Noa Levi Email: noa@example.com Cell: 1", Some("Noa Levi")),
        ("Name:\nNoa Levi\nPhone number: 1", Some("Noa Levi")),
        ("<b>Name</b><br>x\nName: <i>Noa</i>", Some("Noa")),
        ("Host name: Dana\nName: Noa Levi", Some("Noa Levi")),
        ("Name:\nPhone number: 1", None),
        ("Name:", None),
        ("Noa", None),
    ] {
        assert_eq!(name(&["Name:"], text).as_deref(), found, "{text}");
    }
    assert_eq!(name(&[" - "], "Follow-up - Noa Bar-Levi").as_deref(), Some("Noa Bar-Levi"));
    assert_eq!(name(&[" - "], "Follow-up").as_deref(), None);
    assert_eq!(name(&["Name"], "Name = Noa").as_deref(), Some("Noa"));
    assert_eq!(name(&[], " Noa\n").as_deref(), Some("Noa"));
}

#[test]
fn a_hostile_text_is_searched_quickly() {
    let started = std::time::Instant::now();
    for piece in ["phone:", "guest ", "phone: /", " ", "+", "phone: 0 ", "\n", "<", "&", "phone\n"] {
        let text = piece.repeat(64 * 1024 / piece.len());
        labels(&["Phone:", " - ", "guest phone"]).find_number(&text);
        labels(&["Phone:", " - "]).find_line(&text, &labels(&["Guest"]));
    }
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

/// A word that is neither a label nor a word of the customer.
fn any_word() -> impl Strategy<Value = String> {
    "[a-df-zא-ת][a-zא-ת]{0,6}"
        .prop_filter("no label", |word| !["phone", "tel", "guest", "client"].iter().any(|label| word.contains(label)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_number_behind_its_label_is_found_in_any_text(
        before in prop::collection::vec(any_word(), 0..5),
        after in prop::collection::vec(any_word(), 0..5),
        label in prop::sample::select(vec!["Phone:", "PHONE :", "phone\u{a0}:", "Phone：", "tel:", "<b>Phone:</b>"]),
        gap in prop::sample::select(vec!["", " ", "\n", "<br>", "\u{a0}", " \u{200f}"]),
        end in prop::sample::select(vec!["\n", "<br/>", ", ", " | ", " or 03-555-0123\n", "; "]),
        national in "5[0-9]{8}",
    ) {
        let phone = format!("0{national}");
        let text = format!("{}\n{label}{gap}{phone}{end}{}", before.join(" "), after.join(" "));
        prop_assert_eq!(number(&text), phone, "{}", text);
    }

    #[test]
    fn words_before_a_label_make_it_another_label(words in prop::collection::vec(any_word(), 1..4)) {
        let text = format!("{} Phone: 0525550101", words.join(" "));
        prop_assert_eq!(number(&text), "", "{}", text);
    }

    #[test]
    fn no_text_causes_a_panic_and_a_number_stands_in_its_text(text in "(\\PC|phone:|[0-9+(), \n<>&;-]){0,60}") {
        match labels(&["Phone:", "("]).find_number(&text) {
            LabelledNumber::Numbers(found) => prop_assert!(found.iter().all(|it| strip_html(&text).contains(it.text()))),
            LabelledNumber::Whole(found) => prop_assert!(strip_html(&text).contains(&found)),
            _ => {}
        }
        labels(&["Phone:", " - ", "א"]).find_line(&text, &labels(&["Phone:"]));
    }
}
