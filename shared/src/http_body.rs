//! Response bodies with a size limit.

use reqwest::{Error, Response};

/// Reads the body of a response. `None` if it is larger than `limit` bytes; then the rest is not
/// read.
pub async fn read_body_up_to(limit: usize, mut response: Response) -> Result<Option<Vec<u8>>, Error> {
    let too_large = |length: u64| usize::try_from(length).map_or(true, |length| length > limit);
    if response.content_length().is_some_and(too_large) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let needed = body.len() + chunk.len();
        if needed > limit {
            return Ok(None);
        }
        if needed > body.capacity() {
            // Doubled, but never more than the limit: a function has little memory.
            body.reserve_exact((2 * body.capacity()).clamp(needed, limit) - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
