//! Publishes to an SNS topic. The client manages its subscribers.
//!
//! Facts: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>. Only a FIFO topic
//! recognises a repeat, for five minutes. With a standard topic two calls are two messages.

use tellonce_core::{contact::Phone, hash::sha256_hex};

use super::{TargetClient, aws_errors};
use crate::{api_client::ApiError, notification::Notification};

/// The longest message that a topic accepts by default, in bytes.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// The longest subject, in characters: "less than 100".
const MAX_SUBJECT_CHARS: usize = 99;

/// Publishes a notification.
pub(super) async fn publish_to_sns(
    target: &TargetClient<'_>,
    topic_arn: &str,
    notification: &Notification,
) -> Result<(), ApiError> {
    let is_fifo = topic_arn.strip_suffix(".fifo").is_some();
    let hash = |text: &str| sha256_hex(text.as_bytes(), 32);
    // The notifications of one conversation arrive in order.
    let group = hash(
        notification
            .conversation_id
            .as_deref()
            .or(notification.phone.as_ref().map(Phone::expose))
            .unwrap_or(&notification.id),
    );
    target.api_client.rate_limiter.wait_for_turn().await;
    let published = target
        .aws
        .sns()
        .publish()
        .topic_arn(topic_arn)
        .subject(build_subject(notification))
        .message(notification.render_within(MAX_MESSAGE_BYTES, |shorter| shorter.render_text().to_string()))
        .set_message_group_id(is_fifo.then_some(group))
        .set_message_deduplication_id(is_fifo.then(|| hash(&notification.id)))
        .send()
        .await;
    published.map(drop).map_err(aws_errors::map_aws_error)
}

/// The headline in ASCII, which every kind of subscriber can show.
fn build_subject(notification: &Notification) -> String {
    let headline = notification.render_text().headline;
    let ascii: String = headline.chars().filter(|c| matches!(c, ' '..='~')).collect();
    let subject: String = ascii.trim().chars().take(MAX_SUBJECT_CHARS).collect();
    // An escalation with a Hebrew name leaves a colon behind.
    subject.trim_start_matches([':', ' ']).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use loopback::http_response;
    use tellonce_core::{
        client_config::{SnsTarget, TargetKind},
        fault::Fault,
    };

    use super::{
        super::tests::{assert_error, send_with_reply},
        *,
    };
    use crate::notification::tests::{hostile_notification, sample_notification};

    fn topic_target(name: &str) -> TargetKind {
        TargetKind::Sns(SnsTarget { topic_arn: format!("arn:aws:sns:eu-west-1:123456789012:{name}") })
    }

    fn published_reply() -> String {
        http_response(
            "200 OK",
            "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
        )
    }

    async fn publish_and_read_form(kind: &TargetKind, notification: &Notification) -> Vec<(String, String)> {
        let (request, result) = send_with_reply(kind, None, notification, &published_reply()).await;
        result.unwrap();
        let (_, form) = request.split_once("\r\n\r\n").unwrap();
        url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
    }

    fn form_value<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
        form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[tokio::test]
    async fn a_topic_receives_the_text_and_a_short_subject() {
        let form = publish_and_read_form(&topic_target("team"), &sample_notification()).await;
        assert_eq!(form_value(&form, "Action"), Some("Publish"));
        assert_eq!(form_value(&form, "TopicArn"), Some("arn:aws:sns:eu-west-1:123456789012:team"));
        assert_eq!(form_value(&form, "Subject"), Some("urgent: a customer wrote one of the words"));
        assert_eq!(form_value(&form, "Message"), Some(sample_notification().render_text().to_string().as_str()));
        assert_eq!((form_value(&form, "MessageGroupId"), form_value(&form, "MessageDeduplicationId")), (None, None));
    }

    #[tokio::test]
    async fn a_fifo_topic_recognises_a_repeat_by_the_notification_id() {
        let form = publish_and_read_form(&topic_target("team.fifo"), &sample_notification()).await;
        let again = publish_and_read_form(
            &topic_target("team.fifo"),
            &Notification { may_be_repeat: true, ..sample_notification() },
        )
        .await;
        let id = form_value(&form, "MessageDeduplicationId");
        assert!(id.is_some_and(|id| id.len() == 64) && id == form_value(&again, "MessageDeduplicationId"));
        let other = publish_and_read_form(
            &topic_target("team.fifo"),
            &Notification { id: "other".to_owned(), ..sample_notification() },
        )
        .await;
        assert_ne!(id, form_value(&other, "MessageDeduplicationId"));
        assert_eq!(form_value(&form, "MessageGroupId"), form_value(&other, "MessageGroupId"));
    }

    #[test]
    fn a_subject_is_short_ascii_on_one_line_whatever_the_rules_name() {
        let of = |escalation: &str, why: &str| {
            build_subject(&Notification {
                escalation: escalation.to_owned(),
                reason: why.to_owned(),
                ..sample_notification()
            })
        };
        assert_eq!(of("דחוף", "wrote\r\nBcc: x"), "a customer wrote Bcc: x");
        let long = of(&"x".repeat(300), "y");
        assert!(long.len() <= 99 && long.is_ascii(), "{long}");
        assert!(build_subject(&hostile_notification()).starts_with("urgent"));
    }

    #[tokio::test]
    async fn a_message_is_no_longer_than_a_topic_takes() {
        let mut long = sample_notification();
        long.messages[1].text = Some("א".repeat(300_000));
        let form = publish_and_read_form(&topic_target("team"), &long).await;
        assert!(form_value(&form, "Message").is_some_and(|message| message.len() <= MAX_MESSAGE_BYTES));
    }

    #[tokio::test]
    async fn every_sns_error_states_whether_to_retry() {
        for (head, code, fault, expected) in [
            ("400 Bad Request", "InvalidParameter", Fault::Permanent, "InvalidParameter"),
            ("400 Bad Request", "ParameterValueInvalid", Fault::Permanent, "ParameterValueInvalid"),
            ("400 Bad Request", "ValidationException", Fault::Permanent, "ValidationException"),
            ("404 Not Found", "NotFound", Fault::Transient, "NotFound"),
            ("400 Bad Request", "KMSDisabled", Fault::Transient, "KMSDisabled"),
            ("400 Bad Request", "KMSAccessDenied", Fault::Transient, "KMSAccessDenied"),
            ("400 Bad Request", "KMSThrottling", Fault::Transient, "retry later"),
            ("400 Bad Request", "Throttling", Fault::Transient, "retry later"),
            ("429 Too Many Requests", "Throttled", Fault::Transient, "retry later"),
            ("403 Forbidden", "AuthorizationError", Fault::Transient, "AuthorizationError"),
            ("403 Forbidden", "InvalidSecurity", Fault::Transient, "InvalidSecurity"),
            ("403 Forbidden", "InvalidClientTokenId", Fault::Transient, "InvalidClientTokenId"),
            ("500 Internal Server Error", "InternalError", Fault::Ambiguous, "500"),
        ] {
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no: hunter2</Message></Error>\
                 <RequestId>1</RequestId></ErrorResponse>"
            );
            assert_error(&topic_target("team"), None, &http_response(head, &body), fault, expected).await;
        }
        assert_error(&topic_target("team"), None, &http_response("200 OK", "hunter2"), Fault::Ambiguous, "200").await;
        assert_error(
            &topic_target("team"),
            None,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<",
            Fault::Ambiguous,
            "no response",
        )
        .await;
    }
}
