//! The HTTP servers of the fakes and of the stack.
//!
//! Main types: [`AbortableListener`] accepts connections that a handler can break through its
//! [`ConnectionAbort`]. [`bind_port`] opens a listening socket on 127.0.0.1, [`serve_router`]
//! serves a router on it and refuses requests that do not name this machine.
//! [`serve_public_router`] also serves some routes to the host name of a tunnel.

mod abort;
mod guard;
mod ports;

use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};

pub use abort::{AbortableListener, AbortableStream, ConnectionAbort};
pub use guard::{PublicHost, PublicRoutes};
pub use ports::{FreePort, bind_port, find_free_port};

/// Serves a router to this machine, in a new task until that task is aborted.
pub fn serve_router(router: Router, listener: TcpListener, name: &'static str) -> JoinHandle<()> {
    serve_guarded(guard::guard_router(router, None), listener, name)
}

/// The same, and `public` to the hosts of a tunnel.
pub fn serve_public_router(
    router: Router,
    public: PublicRoutes,
    listener: TcpListener,
    name: &'static str,
) -> JoinHandle<()> {
    serve_guarded(guard::guard_router(router, Some(public)), listener, name)
}

fn serve_guarded(router: Router, listener: TcpListener, name: &'static str) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<ConnectionAbort>();
    tokio::spawn(async move {
        #[expect(clippy::disallowed_methods, reason = "the one place that serves, behind the guard")]
        if let Err(error) = axum::serve(AbortableListener(listener), service).await {
            tracing::error!(%error, "{name} stopped");
        }
    })
}
