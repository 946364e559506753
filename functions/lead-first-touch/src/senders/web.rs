//! Whatever posts a form: a website's own, the HTTP steps of Zapier, Make and n8n, `WPForms`, Contact Form 7 with a plugin.
//! JSON, urlencoded or multipart; all names are chosen by whoever set it up.

use crate::{
    body,
    lead::{Delivery, NothingBecause},
    submission::Submission,
};

/// Reads a delivery. Where the id, the form's id and the time stand is for [`crate::facts`] to find.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Submission, NothingBecause> {
    Ok(Submission { fields: body::fields(delivery)?, ..Submission::default() })
}

#[cfg(test)]
mod tests {
    use crate::samples::{form_delivery, lead, read_as, read_delivery, reason};

    const FORM: &str = "application/x-www-form-urlencoded";

    fn posted(content_type: &str, body: &str) -> crate::lead::Reading {
        read_delivery(&form_delivery("site", content_type, body.as_bytes()))
    }

    #[test]
    fn the_three_ways_to_write_a_form_say_the_same() {
        let form = lead(posted(FORM, "submissionId=7&contact%5Bphone%5D=052-555-0101&whatsapp_consent=on"));
        let json = lead(posted(
            "application/json",
            r#"{"submissionId":7,"contact":{"phone":"052-555-0101"},"whatsapp_consent":true}"#,
        ));
        let parts = "--b\r\nContent-Disposition: form-data; name=\"submissionId\"\r\n\r\n7\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"cv\"; filename=\"phone.txt\"\r\n\r\n054-5550199\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"contact[phone]\"\r\n\r\n052-555-0101\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"whatsapp_consent\"\r\n\r\non\r\n--b--\r\n";
        let multipart = lead(posted("multipart/form-data; boundary=b", parts));
        assert_eq!((&*form.id, form.phone.expose()), ("7", "+972525550101"));
        assert_eq!((&json, &multipart), (&form, &form));
    }

    #[test]
    fn a_plus_that_was_lost_on_the_way_is_given_back() {
        for (phone, means) in [
            ("+972545550199", "+972545550199"),
            ("%2B972545550199", "+972545550199"),
            ("+49+171+39200123", "+4917139200123"),
            // Somebody typed the space.
            ("+0545550199", "+972545550199"),
            ("+545550199", "+972545550199"),
        ] {
            let body = format!("phone={phone}&whatsapp_consent=on");
            assert_eq!(lead(posted(FORM, &body)).phone.expose(), means, "{phone}");
        }
    }

    #[test]
    fn json_without_its_header_is_json() {
        let body = "\u{feff} {\"phone\":\"052-555-0101\",\"whatsapp_consent\":\"yes\"}";
        for content_type in ["", FORM, "text/plain"] {
            assert_eq!(lead(posted(content_type, body)).phone.expose(), "+972525550101", "{content_type}");
        }
    }

    #[test]
    fn a_list_is_an_import_and_no_lead() {
        for body in [
            "[]",
            r#"[{"phone":"052-555-0101"}]"#,
            r#"{"leads":[{"name":"A","Phone Number":"052-555-0101"}]}"#,
            r#"{"data":{"rows":[{"x":1},{"tel":"052-555-0101"}]},"phone":"052-555-0101","whatsapp_consent":"on"}"#,
        ] {
            assert_eq!(reason(posted("application/json", body)).code(), "list", "{body}");
        }
        let products =
            r#"{"phone":"052-555-0101","whatsapp_consent":1,"products":[{"name":"A"},{"name":"B"}],"tags":["a"]}"#;
        assert_eq!(lead(posted("application/json", products)).name, None, "other lists are lists of something else");
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
            (FORM, String::new()),
            ("application/json", "phone=1".to_owned()),
            ("application/json", "\"phone\"".to_owned()),
        ] {
            let reason = reason(posted(content_type, &body));
            assert_eq!(reason.code(), "not-understood", "{content_type}: {body}");
            assert!(!reason.to_string().contains("555"));
        }
    }

    #[test]
    fn a_form_that_its_delivery_names_must_be_one_that_is_meant() {
        let posted = |form: &str| read_as("numbered", format!("{{\"phone\":\"052-555-0101\",\"form_id\":{form}}}"));
        assert!(lead(posted("5")).id.starts_with("derived:"));
        for other in ["6", "\"\"", "null"] {
            assert_eq!(reason(posted(other)).code(), "other-form", "{other}");
        }
    }
}
