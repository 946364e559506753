//! The HTTP servers of the fakes and of the stack.
//!
//! Main types: [`AbortableListener`] accepts connections that a handler can break through its
//! [`ConnectionAbort`]. [`bind_port`] opens a listening socket on 127.0.0.1, [`serve_router`]
//! serves a router on it.

mod abort;
mod ports;

use axum::Router;
use http::{HeaderMap, header};
use tokio::{net::TcpListener, task::JoinHandle};

pub use abort::{AbortableListener, AbortableStream, ConnectionAbort};
pub use ports::bind_port;

/// Serves a router in a new task until that task is aborted.
pub fn serve_router(router: Router, listener: TcpListener, name: &'static str) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<ConnectionAbort>();
    tokio::spawn(async move {
        if let Err(error) = axum::serve(AbortableListener(listener), service).await {
            tracing::error!(%error, "{name} stopped");
        }
    })
}

/// Whether the `Host` header names this machine.
///
/// A web page can point its own DNS name at 127.0.0.1. A request with such a name does not come
/// from the person at this machine.
pub fn has_local_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}
