//! Events of API Gateway: whatever a stranger sends to the public address.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tellonce_core::secret::Secret;
use tellonce_fuzz::{CONFIG, NOW};
use webhook_receiver::{parse_request, verify_request};

fuzz_target!(|payload: &str| {
    let Ok(request) = parse_request(payload) else { return };
    let secrets = [Secret::new("whsec_c3Rvcmllcy1vZi1hbi1lcnAtMDAwMQ=="), Secret::new("plain")];
    let (path, headers, body) = (request.uri().path(), request.headers(), request.body().as_ref());
    // A stranger knows no secret. What such a request may be is a ping, which stores nothing.
    if let Ok(verified) = verify_request(&CONFIG, request.method(), path, headers, body, &secrets, *NOW) {
        drop(verified);
    }
});
