//! E-mail, through SES.
//!
//! Facts: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>. SES has no idempotency key: two calls
//! are two mails. While an account is in the sandbox, it mails to verified addresses only, and refuses the rest.

use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message, MessageHeader};
use shared::digest::sha256_hex;

use super::{TargetClient, aws};
use crate::{
    call::CallError,
    notice::{Notice, clean},
};

/// The longest subject, in characters: a mail program's list shows fewer.
const LONGEST_SUBJECT: usize = 120;
/// The longest body, in bytes. SES takes megabytes; nobody reads this many.
const LONGEST_BODY: usize = 100_000;
/// By this header a mailbox can recognise a notice that was sent again. Its value is a hash of the notice's id.
const ID_HEADER: &str = "X-Tellonce-Notice";

/// Sends one mail to all of the target's addresses.
pub(super) async fn call(
    target: &TargetClient<'_>,
    from: &str,
    to: &[String],
    notice: &Notice,
) -> Result<(), CallError> {
    let mail = mail(notice).map_err(|error| CallError::AwsUnreachable(Box::new(error)))?;
    target.caller.pace.turn().await;
    let sent = target
        .aws
        .ses()
        .send_email()
        .from_email_address(from)
        .destination(Destination::builder().set_to_addresses(Some(to.to_vec())).build())
        .content(EmailContent::builder().simple(mail).build())
        .send()
        .await;
    sent.map(drop).map_err(aws::meaning)
}

/// A mail in plain text. Fails only if a part is left out, which none is.
fn mail(notice: &Notice) -> Result<Message, aws_sdk_sesv2::error::BuildError> {
    let utf8 = |text: String| Content::builder().data(text).charset("UTF-8").build();
    let body = notice.within(LONGEST_BODY, |notice| notice.words().to_string());
    let id = sha256_hex(notice.id.as_bytes(), 16);
    Ok(Message::builder()
        .subject(utf8(clean(&notice.words().headline, LONGEST_SUBJECT))?)
        .body(Body::builder().text(utf8(body)?).build())
        .headers(MessageHeader::builder().name(ID_HEADER).value(id).build()?)
        .build())
}

#[cfg(test)]
mod tests {
    use loopback::response;
    use serde_json::{Value, json};
    use shared::{client_config::TargetKind, fault::Fault};

    use super::{
        super::tests::{called, judged},
        *,
    };
    use crate::notice::tests::{HOSTILE, hebrew, hostile, notice};

    fn team() -> TargetKind {
        let to = ["a@team.example", "b@team.example"].map(str::to_owned).to_vec();
        TargetKind::Email { from: "desk@agency.example".to_owned(), to }
    }

    async fn asked(notice: &Notice) -> Value {
        let (asked, result) = called(&team(), None, notice, &response("200 OK", r#"{"MessageId":"1"}"#)).await;
        result.unwrap();
        assert!(asked.starts_with("POST /v2/email/outbound-emails HTTP/1.1\r\n"), "{asked}");
        let (_, body) = asked.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    #[tokio::test]
    async fn a_mail_is_plain_text_to_all_addresses() {
        let sent = asked(&hebrew()).await;
        assert_eq!(sent["FromEmailAddress"], "desk@agency.example");
        assert_eq!(sent["Destination"]["ToAddresses"], json!(["a@team.example", "b@team.example"]));
        let simple = &sent["Content"]["Simple"];
        let text = json!({ "Charset": "UTF-8", "Data": hebrew().words().to_string() });
        assert_eq!(simple["Body"], json!({ "Text": text }));
        let subject = json!({ "Charset": "UTF-8", "Data": "urgent: a customer wrote one of the words" });
        assert_eq!(simple["Subject"], subject);
        assert_eq!(simple["Headers"][0]["Name"], "X-Tellonce-Notice");
        assert_eq!(
            simple["Headers"],
            asked(&Notice { repeated: false, ..hebrew() }).await["Content"]["Simple"]["Headers"]
        );
    }

    #[tokio::test]
    async fn a_subject_is_one_short_line_and_nobody_writes_a_header_into_it() {
        let why = format!("wrote\r\nBcc: all@evil.example\r\n\r\n{HOSTILE}{}", "x".repeat(300));
        let sent = asked(&Notice { why, ..hostile() }).await;
        let subject = sent["Content"]["Simple"]["Subject"]["Data"].as_str().unwrap();
        assert!(subject.starts_with("urgent: a customer wrote Bcc: all@evil.example <!channel>"), "{subject}");
        assert!(subject.chars().count() <= LONGEST_SUBJECT && !subject.chars().any(char::is_control));
    }

    #[tokio::test]
    async fn a_mail_has_an_end() {
        let mut long = notice();
        long.messages[0].text = Some("x".repeat(200_000));
        let sent = asked(&long).await;
        let text = sent["Content"]["Simple"]["Body"]["Text"]["Data"].as_str().unwrap();
        assert!(text.len() <= LONGEST_BODY && text.contains("Urgent: it isn't there"));
    }

    #[tokio::test]
    async fn every_error_of_ses_knows_whether_to_mail_again() {
        for (head, code, fault, says) in [
            ("400 Bad Request", "MessageRejected", Fault::Permanent, "MessageRejected"),
            ("400 Bad Request", "MailFromDomainNotVerifiedException", Fault::Transient, "MailFromDomainNotVerified"),
            ("400 Bad Request", "BadRequestException", Fault::Permanent, "BadRequest"),
            ("400 Bad Request", "AccountSuspendedException", Fault::Transient, "AccountSuspended"),
            ("404 Not Found", "NotFoundException", Fault::Transient, "NotFound"),
            ("400 Bad Request", "LimitExceededException", Fault::Transient, "patience"),
            ("400 Bad Request", "SendingPausedException", Fault::Transient, "patience"),
            ("429 Too Many Requests", "TooManyRequestsException", Fault::Transient, "patience"),
            ("403 Forbidden", "AccessDeniedException", Fault::Transient, "AccessDenied"),
            ("403 Forbidden", "ExpiredTokenException", Fault::Transient, "ExpiredToken"),
            ("500 Internal Server Error", "InternalFailure", Fault::Ambiguous, "500"),
            ("503 Service Unavailable", "ServiceUnavailable", Fault::Ambiguous, "503"),
        ] {
            let head = format!("{head}\r\nx-amzn-errortype: {code}");
            let given = response(&head, r#"{"message":"Email address is not verified: hunter2@team.example"}"#);
            judged(&team(), None, &given, fault, says).await;
        }
        judged(&team(), None, &response("400 Bad Request", "hunter2"), Fault::Permanent, "400").await;
        judged(&team(), None, &response("200 OK", "hunter2"), Fault::Ambiguous, "200").await;
        judged(&team(), None, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", Fault::Ambiguous, "answer").await;
    }
}
