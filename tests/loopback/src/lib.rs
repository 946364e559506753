//! A fake API on the loopback, for unit tests: it gives prepared responses and returns the
//! requests.

use std::io::{Error, ErrorKind, Result};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Answers one request at a time. After it is dropped, connections are refused.
#[derive(Debug)]
pub struct FakeApi(TcpListener);

impl FakeApi {
    /// Listens on a free port.
    pub async fn start() -> Result<Self> {
        TcpListener::bind("127.0.0.1:0").await.map(Self)
    }

    /// Scheme, host and port.
    pub fn base_url(&self) -> Result<String> {
        Ok(format!("http://{}", self.0.local_addr()?))
    }

    /// Answers one request with these bytes, and returns the request with its body.
    pub async fn reply_once(&self, response: &str) -> Result<String> {
        let (mut stream, _) = self.0.accept().await?;
        let mut request = Vec::new();
        while !is_complete_request(&request) {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await?;
            if read == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the request ended early"));
            }
            request.extend_from_slice(&chunk[..read]);
        }
        // A client may close the connection before it has read the whole response.
        if stream.write_all(response.as_bytes()).await.is_ok() {
            stream.shutdown().await.unwrap_or_default();
        }
        String::from_utf8(request).map_err(|_| Error::new(ErrorKind::InvalidData, "the request is not UTF-8"))
    }
}

/// A response with its content length. The status comes first, then each header after a line break.
pub fn http_response(status_and_headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status_and_headers}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// Whether a request is complete: its head, and a body of the length in the head.
fn is_complete_request(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}
