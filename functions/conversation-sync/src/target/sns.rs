//! SNS: a topic, whose subscribers are the client's business.
//!
//! Facts: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>. Only a FIFO topic knows a repeat, for five minutes;
//! with a standard topic two calls are two messages.

use shared::{contact::Phone, digest::sha256_hex};

use super::{TargetClient, aws};
use crate::{call::CallError, notice::Notice};

/// The longest message, in bytes, that a topic takes unless it is set otherwise.
const LONGEST_MESSAGE: usize = 256 * 1024;
/// The longest subject, in characters: "less than 100".
const LONGEST_SUBJECT: usize = 99;

/// Publishes a notice.
pub(super) async fn call(target: &TargetClient<'_>, topic_arn: &str, notice: &Notice) -> Result<(), CallError> {
    let fifo = topic_arn.strip_suffix(".fifo").is_some();
    let hash = |text: &str| sha256_hex(text.as_bytes(), 32);
    // What is about one conversation arrives in its order.
    let group = hash(notice.conversation.as_deref().or(notice.phone.as_ref().map(Phone::expose)).unwrap_or(&notice.id));
    target.caller.pace.turn().await;
    let published = target
        .aws
        .sns()
        .publish()
        .topic_arn(topic_arn)
        .subject(subject(notice))
        .message(notice.within(LONGEST_MESSAGE, |notice| notice.words().to_string()))
        .set_message_group_id(fifo.then_some(group))
        .set_message_deduplication_id(fifo.then(|| hash(&notice.id)))
        .send()
        .await;
    published.map(drop).map_err(aws::meaning)
}

/// The headline in ASCII, which is what a subject's every subscriber shows.
fn subject(notice: &Notice) -> String {
    let headline = notice.words().headline;
    let ascii: String = headline.chars().filter(|c| matches!(c, ' '..='~')).collect();
    let subject: String = ascii.trim().chars().take(LONGEST_SUBJECT).collect();
    // A rule with a Hebrew name leaves a colon behind.
    subject.trim_start_matches([':', ' ']).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use loopback::response;
    use shared::{client_config::TargetKind, fault::Fault};

    use super::{
        super::tests::{called, judged},
        *,
    };
    use crate::notice::tests::{hostile, notice};

    fn topic(name: &str) -> TargetKind {
        TargetKind::Sns { topic_arn: format!("arn:aws:sns:eu-west-1:123456789012:{name}") }
    }

    fn done() -> String {
        response("200 OK", "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>")
    }

    async fn asked(kind: &TargetKind, notice: &Notice) -> Vec<(String, String)> {
        let (asked, result) = called(kind, None, notice, &done()).await;
        result.unwrap();
        let (_, form) = asked.split_once("\r\n\r\n").unwrap();
        url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
    }

    fn value<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
        form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[tokio::test]
    async fn a_topic_gets_the_words_and_a_short_subject() {
        let form = asked(&topic("team"), &notice()).await;
        assert_eq!(value(&form, "Action"), Some("Publish"));
        assert_eq!(value(&form, "TopicArn"), Some("arn:aws:sns:eu-west-1:123456789012:team"));
        assert_eq!(value(&form, "Subject"), Some("urgent: a customer wrote one of the words"));
        assert_eq!(value(&form, "Message"), Some(notice().words().to_string().as_str()));
        assert_eq!((value(&form, "MessageGroupId"), value(&form, "MessageDeduplicationId")), (None, None));
    }

    #[tokio::test]
    async fn a_fifo_topic_knows_a_repeat_by_the_notices_id() {
        let form = asked(&topic("team.fifo"), &notice()).await;
        let again = asked(&topic("team.fifo"), &Notice { repeated: true, ..notice() }).await;
        let id = value(&form, "MessageDeduplicationId");
        assert!(id.is_some_and(|id| id.len() == 64) && id == value(&again, "MessageDeduplicationId"));
        let other = asked(&topic("team.fifo"), &Notice { id: "other".to_owned(), ..notice() }).await;
        assert_ne!(id, value(&other, "MessageDeduplicationId"));
        assert_eq!(value(&form, "MessageGroupId"), value(&other, "MessageGroupId"));
    }

    #[test]
    fn a_subject_is_short_ascii_on_one_line_whatever_the_rule_is_called() {
        let of = |escalation: &str, why: &str| {
            subject(&Notice { escalation: escalation.to_owned(), why: why.to_owned(), ..notice() })
        };
        assert_eq!(of("דחוף", "wrote\r\nBcc: x"), "a customer wrote Bcc: x");
        let long = of(&"x".repeat(300), "y");
        assert!(long.len() <= 99 && long.is_ascii(), "{long}");
        assert!(subject(&hostile()).starts_with("urgent"));
    }

    #[tokio::test]
    async fn a_message_is_no_longer_than_a_topic_takes() {
        let mut long = notice();
        long.messages[1].text = Some("א".repeat(300_000));
        let form = asked(&topic("team"), &long).await;
        assert!(value(&form, "Message").is_some_and(|message| message.len() <= LONGEST_MESSAGE));
    }

    #[tokio::test]
    async fn every_error_of_sns_knows_whether_to_publish_again() {
        for (head, code, fault, says) in [
            ("400 Bad Request", "InvalidParameter", Fault::Permanent, "InvalidParameter"),
            ("400 Bad Request", "ParameterValueInvalid", Fault::Permanent, "ParameterValueInvalid"),
            ("400 Bad Request", "ValidationException", Fault::Permanent, "ValidationException"),
            ("404 Not Found", "NotFound", Fault::Transient, "NotFound"),
            ("400 Bad Request", "KMSDisabled", Fault::Transient, "KMSDisabled"),
            ("400 Bad Request", "KMSAccessDenied", Fault::Transient, "KMSAccessDenied"),
            ("400 Bad Request", "KMSThrottling", Fault::Transient, "patience"),
            ("400 Bad Request", "Throttling", Fault::Transient, "patience"),
            ("429 Too Many Requests", "Throttled", Fault::Transient, "patience"),
            ("403 Forbidden", "AuthorizationError", Fault::Transient, "AuthorizationError"),
            ("403 Forbidden", "InvalidSecurity", Fault::Transient, "InvalidSecurity"),
            ("403 Forbidden", "InvalidClientTokenId", Fault::Transient, "InvalidClientTokenId"),
            ("500 Internal Server Error", "InternalError", Fault::Ambiguous, "500"),
        ] {
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no: hunter2</Message></Error>\
                 <RequestId>1</RequestId></ErrorResponse>"
            );
            judged(&topic("team"), None, &response(head, &body), fault, says).await;
        }
        judged(&topic("team"), None, &response("200 OK", "hunter2"), Fault::Ambiguous, "200").await;
        judged(&topic("team"), None, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<", Fault::Ambiguous, "answer").await;
    }
}
