//! Checks the signature of a call by Standard Webhooks:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use tellonce_samples::sign_standard_webhooks;

use super::FakeRequest;

/// Largest difference between a call's time and the clock, in seconds.
const TOLERANCE_S: i64 = 300;

/// Whether a call is signed with this secret (`whsec_…`) and its time is near `now_s` (unix
/// seconds).
pub(super) fn is_signed(request: &FakeRequest, secret: &str, now_s: i64) -> bool {
    let (Some(id), Some(at), Some(signatures)) =
        (request.header("webhook-id"), request.header("webhook-timestamp"), request.header("webhook-signature"))
    else {
        return false;
    };
    let Ok(at) = at.parse::<i64>() else { return false };
    let Ok(right) = sign_standard_webhooks(secret, id, at, &request.body) else { return false };
    secret.starts_with("whsec_") && (now_s - at).abs() <= TOLERANCE_S && signatures.split(' ').any(|one| one == right)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// Signed with Python, so that the test compares with another implementation.
    const BODY: &str = r#"{"type":"conversation.message"}"#;

    async fn signed_request(signature: &str) -> FakeRequest {
        let request = http::Request::post("/hook")
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", "1795082400")
            .header("webhook-signature", signature)
            .body(Body::from(BODY))
            .unwrap();
        FakeRequest::from_http(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_call_is_accepted_by_any_of_its_signatures_and_only_for_five_minutes() {
        let right = "v1,LWjYBd1EJjXVJjQTbf/zEaiAksUSLeqY/7fEc9sz/Bw=";
        let (secret, other) = (
            "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=",
            "whsec_c3RhbmRhcmQtd2ViaG9va3Mtb2xkLXNlY3JldC0wMDA=",
        );
        assert!(is_signed(&signed_request(right).await, secret, 1_795_082_400));
        assert!(is_signed(&signed_request(&format!("v1,AAAA {right}")).await, secret, 1_795_082_700));
        assert!(!is_signed(&signed_request(right).await, secret, 1_795_082_701));
        assert!(!is_signed(&signed_request(right).await, other, 1_795_082_400));
        assert!(!is_signed(&signed_request("v1,AAAA").await, secret, 1_795_082_400));
    }
}
