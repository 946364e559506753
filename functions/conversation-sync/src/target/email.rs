//! E-mail, through SES.
//!
//! Facts: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>. SES has no
//! idempotency key: two calls are two mails. While an account is in the sandbox, SES refuses all
//! but verified addresses.

use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message, MessageHeader};
use tellonce_core::hash::sha256_hex;

use super::{TargetClient, aws_errors};
use crate::{
    api_client::ApiError,
    notification::{Notification, cut_visible_line},
};

/// The longest subject, in characters: the list of a mail program shows fewer.
const MAX_SUBJECT_CHARS: usize = 120;
/// The longest body, in bytes. SES accepts megabytes, which no person reads.
const MAX_BODY_BYTES: usize = 100_000;
/// The header by which a mailbox can recognise a repeat: a hash of the notification's id.
const NOTIFICATION_ID_HEADER: &str = "X-Tellonce-Notification";

/// Sends one mail to all of the target's addresses.
pub(super) async fn send_mail(
    target: &TargetClient<'_>,
    from: &str,
    to: &[String],
    notification: &Notification,
) -> Result<(), ApiError> {
    let mail = build_mail(notification).map_err(|error| ApiError::AwsUnreachable(Box::new(error)))?;
    target.api_client.rate_limiter.wait_for_turn().await;
    let sent = target
        .aws
        .ses()
        .send_email()
        .from_email_address(from)
        .destination(Destination::builder().set_to_addresses(Some(to.to_vec())).build())
        .content(EmailContent::builder().simple(mail).build())
        .send()
        .await;
    sent.map(drop).map_err(aws_errors::map_aws_error)
}

/// Builds a mail in plain text. Fails only if a part is missing, and none is.
fn build_mail(notification: &Notification) -> Result<Message, aws_sdk_sesv2::error::BuildError> {
    let utf8 = |text: String| Content::builder().data(text).charset("UTF-8").build();
    let body = notification.render_within(MAX_BODY_BYTES, |shorter| shorter.render_text().to_string());
    let id = sha256_hex(notification.id.as_bytes(), 16);
    Ok(Message::builder()
        .subject(utf8(cut_visible_line(&notification.render_text().headline, MAX_SUBJECT_CHARS))?)
        .body(Body::builder().text(utf8(body)?).build())
        .headers(MessageHeader::builder().name(NOTIFICATION_ID_HEADER).value(id).build()?)
        .build())
}

#[cfg(test)]
mod tests {
    use loopback::http_response;
    use serde_json::{Value, json};
    use tellonce_core::{
        client_config::{EmailTarget, TargetKind},
        fault::Fault,
    };

    use super::{
        super::tests::{assert_error, send_with_reply},
        *,
    };
    use crate::notification::tests::{HOSTILE_TEXT, hebrew_notification, hostile_notification, sample_notification};

    fn email_target() -> TargetKind {
        let to = ["a@team.example", "b@team.example"].map(str::to_owned).to_vec();
        TargetKind::Email(EmailTarget { from: "desk@agency.example".to_owned(), to })
    }

    async fn send_and_read_mail(notification: &Notification) -> Value {
        let (request, result) =
            send_with_reply(&email_target(), None, notification, &http_response("200 OK", r#"{"MessageId":"1"}"#))
                .await;
        result.unwrap();
        assert!(request.starts_with("POST /v2/email/outbound-emails HTTP/1.1\r\n"), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    #[tokio::test]
    async fn a_mail_is_plain_text_to_all_addresses() {
        let sent = send_and_read_mail(&hebrew_notification()).await;
        assert_eq!(sent["FromEmailAddress"], "desk@agency.example");
        assert_eq!(sent["Destination"]["ToAddresses"], json!(["a@team.example", "b@team.example"]));
        let simple = &sent["Content"]["Simple"];
        let text = json!({ "Charset": "UTF-8", "Data": hebrew_notification().render_text().to_string() });
        assert_eq!(simple["Body"], json!({ "Text": text }));
        let subject = json!({ "Charset": "UTF-8", "Data": "urgent: a customer wrote one of the words" });
        assert_eq!(simple["Subject"], subject);
        assert_eq!(simple["Headers"][0]["Name"], "X-Tellonce-Notification");
        assert_eq!(
            simple["Headers"],
            send_and_read_mail(&Notification { may_be_repeat: false, ..hebrew_notification() }).await["Content"]["Simple"]
                ["Headers"]
        );
    }

    #[tokio::test]
    async fn a_subject_is_one_short_line_and_cannot_inject_a_header() {
        let reason = format!("wrote\r\nBcc: all@evil.example\r\n\r\n{HOSTILE_TEXT}{}", "x".repeat(300));
        let sent = send_and_read_mail(&Notification { reason, ..hostile_notification() }).await;
        let subject = sent["Content"]["Simple"]["Subject"]["Data"].as_str().unwrap();
        assert!(subject.starts_with("urgent: a customer wrote Bcc: all@evil.example <!channel>"), "{subject}");
        assert!(subject.chars().count() <= MAX_SUBJECT_CHARS && !subject.chars().any(char::is_control));
    }

    #[tokio::test]
    async fn a_mail_has_a_maximum_length() {
        let mut long = sample_notification();
        long.messages[0].text = Some("x".repeat(200_000));
        let sent = send_and_read_mail(&long).await;
        let text = sent["Content"]["Simple"]["Body"]["Text"]["Data"].as_str().unwrap();
        assert!(text.len() <= MAX_BODY_BYTES && text.contains("Urgent: it isn't there"));
    }

    #[tokio::test]
    async fn every_ses_error_states_whether_to_retry() {
        for (head, code, fault, expected) in [
            ("400 Bad Request", "MessageRejected", Fault::Permanent, "MessageRejected"),
            ("400 Bad Request", "MailFromDomainNotVerifiedException", Fault::Transient, "MailFromDomainNotVerified"),
            ("400 Bad Request", "BadRequestException", Fault::Permanent, "BadRequest"),
            ("400 Bad Request", "AccountSuspendedException", Fault::Transient, "AccountSuspended"),
            ("404 Not Found", "NotFoundException", Fault::Transient, "NotFound"),
            ("400 Bad Request", "LimitExceededException", Fault::Transient, "retry later"),
            ("400 Bad Request", "SendingPausedException", Fault::Transient, "retry later"),
            ("429 Too Many Requests", "TooManyRequestsException", Fault::Transient, "retry later"),
            ("403 Forbidden", "AccessDeniedException", Fault::Transient, "AccessDenied"),
            ("403 Forbidden", "ExpiredTokenException", Fault::Transient, "ExpiredToken"),
            ("500 Internal Server Error", "InternalFailure", Fault::Ambiguous, "500"),
            ("503 Service Unavailable", "ServiceUnavailable", Fault::Ambiguous, "503"),
        ] {
            let head = format!("{head}\r\nx-amzn-errortype: {code}");
            let given = http_response(&head, r#"{"message":"Email address is not verified: hunter2@team.example"}"#);
            assert_error(&email_target(), None, &given, fault, expected).await;
        }
        assert_error(&email_target(), None, &http_response("400 Bad Request", "hunter2"), Fault::Permanent, "400")
            .await;
        assert_error(&email_target(), None, &http_response("200 OK", "hunter2"), Fault::Ambiguous, "200").await;
        assert_error(
            &email_target(),
            None,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            Fault::Ambiguous,
            "no response",
        )
        .await;
    }
}
