//! Any other form: a website's own, the HTTP steps of Zapier, Make and n8n, `WPForms`, or Contact
//! Form 7 with a plugin. The body is JSON, urlencoded or multipart, and the developer of the form
//! chooses all names.

use crate::{form_body, lead::LeadDelivery, lead_outcome::LeadSkipReason, submission::LeadSubmission};

/// Parses a delivery. [`crate::facts`] finds the id, the form's id and the time among the fields.
pub(crate) fn parse_submission(delivery: &LeadDelivery<'_>) -> Result<LeadSubmission, LeadSkipReason> {
    Ok(LeadSubmission { fields: form_body::parse_fields(delivery)?, ..LeadSubmission::default() })
}

#[cfg(test)]
mod tests {
    use crate::samples::{build_posted_form, expect_lead, expect_skip, field_id, parse_as, parse_posted_form};

    const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

    fn parse_posted(content_type: &str, body: &str) -> crate::lead::ParsedLead {
        parse_posted_form(&build_posted_form("site", content_type, body.as_bytes()))
    }

    #[test]
    fn the_three_encodings_of_a_form_yield_the_same_lead() {
        let form = expect_lead(parse_posted(
            FORM_CONTENT_TYPE,
            "submissionId=7&contact%5Bphone%5D=052-555-0101&whatsapp_consent=on",
        ));
        let json = expect_lead(parse_posted(
            "application/json",
            r#"{"submissionId":7,"contact":{"phone":"052-555-0101"},"whatsapp_consent":true}"#,
        ));
        let parts = "--b\r\nContent-Disposition: form-data; name=\"submissionId\"\r\n\r\n7\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"cv\"; filename=\"phone.txt\"\r\n\r\n054-5550199\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"contact[phone]\"\r\n\r\n052-555-0101\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"whatsapp_consent\"\r\n\r\non\r\n--b--\r\n";
        let multipart = expect_lead(parse_posted("multipart/form-data; boundary=b", parts));
        assert_eq!((field_id(&form), form.phone.expose()), ("7", "+972525550101"));
        assert_eq!((&json, &multipart), (&form, &form));
    }

    #[test]
    fn a_plus_lost_in_encoding_is_restored() {
        for (phone, expected) in [
            ("+972545550199", "+972545550199"),
            ("%2B972545550199", "+972545550199"),
            ("+49+171+39200123", "+4917139200123"),
            // The lead typed the space.
            ("+0545550199", "+972545550199"),
            ("+545550199", "+972545550199"),
        ] {
            let body = format!("phone={phone}&whatsapp_consent=on");
            assert_eq!(expect_lead(parse_posted(FORM_CONTENT_TYPE, &body)).phone.expose(), expected, "{phone}");
        }
    }

    #[test]
    fn json_without_its_content_type_is_parsed_as_json() {
        let body = "\u{feff} {\"phone\":\"052-555-0101\",\"whatsapp_consent\":\"yes\"}";
        for content_type in ["", FORM_CONTENT_TYPE, "text/plain"] {
            assert_eq!(expect_lead(parse_posted(content_type, body)).phone.expose(), "+972525550101", "{content_type}");
        }
    }

    #[test]
    fn a_list_is_an_import_and_not_a_lead() {
        for body in [
            "[]",
            r#"[{"phone":"052-555-0101"}]"#,
            r#"{"leads":[{"name":"A","Phone Number":"052-555-0101"}]}"#,
            r#"{"data":{"rows":[{"x":1},{"tel":"052-555-0101"}]},"phone":"052-555-0101","whatsapp_consent":"on"}"#,
        ] {
            assert_eq!(expect_skip(parse_posted("application/json", body)).code(), "list", "{body}");
        }
        let products =
            r#"{"phone":"052-555-0101","whatsapp_consent":1,"products":[{"name":"A"},{"name":"B"}],"tags":["a"]}"#;
        assert_eq!(
            expect_lead(parse_posted("application/json", products)).name,
            None,
            "a list without phone numbers is not a list of leads"
        );
    }

    #[test]
    fn multipart_without_a_boundary_or_an_end_is_not_understood() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"phone\"\r\n\r\n052-555-0101\r\n";
        for (content_type, body) in [
            ("multipart/form-data", format!("{part}--b--\r\n")),
            ("multipart/form-data; boundary=c", format!("{part}--b--\r\n")),
            ("multipart/form-data; boundary=b", part.to_owned()),
            ("multipart/form-data; boundary=b", part.replace("\r\n", "\n")),
            ("multipart/form-data; boundary=b", String::new()),
            (FORM_CONTENT_TYPE, String::new()),
            ("application/json", "phone=1".to_owned()),
            ("application/json", "\"phone\"".to_owned()),
        ] {
            let reason = expect_skip(parse_posted(content_type, &body));
            assert_eq!(reason.code(), "not-understood", "{content_type}: {body}");
            assert!(!reason.to_string().contains("555"));
        }
    }

    #[test]
    fn a_form_named_in_the_body_must_be_in_form_ids() {
        let parse_with_form =
            |form: &str| parse_as("numbered", format!("{{\"phone\":\"052-555-0101\",\"form_id\":{form}}}"));
        assert!(expect_lead(parse_with_form("5")).id.starts_with("derived:"));
        for other in ["6", "\"\"", "null"] {
            assert_eq!(expect_skip(parse_with_form(other)).code(), "other-form", "{other}");
        }
    }
}
