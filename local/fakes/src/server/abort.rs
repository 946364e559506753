//! A TCP listener whose connections a handler can break. HTTP libraries do not offer this.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use futures::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Breaks its connection. A handler gets it as `ConnectInfo<ConnectionAbort>`.
#[derive(Clone, Debug)]
pub struct ConnectionAbort(Arc<AbortState>);

#[derive(Debug)]
struct AbortState {
    peer_addr: SocketAddr,
    aborted: AtomicBool,
    waker: AtomicWaker,
}

impl ConnectionAbort {
    fn new(from: SocketAddr) -> Self {
        Self(Arc::new(AbortState { peer_addr: from, aborted: AtomicBool::default(), waker: AtomicWaker::default() }))
    }

    /// Address of the client.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr
    }

    /// Ends the connection without a response. The caller must not respond afterwards.
    pub fn abort(&self) {
        self.0.aborted.store(true, Ordering::SeqCst);
        self.0.waker.wake();
    }

    fn is_aborted(&self) -> bool {
        self.0.aborted.load(Ordering::SeqCst)
    }
}

/// Accepts connections that a handler can break.
#[derive(Debug)]
pub struct AbortableListener(pub TcpListener);

/// A connection that [`ConnectionAbort`] can break.
#[derive(Debug)]
pub struct AbortableStream {
    tcp: TcpStream,
    abort: ConnectionAbort,
}

impl axum::serve::Listener for AbortableListener {
    type Io = AbortableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (AbortableStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((tcp, addr)) => return (AbortableStream { tcp, abort: ConnectionAbort::new(addr) }, addr),
                Err(error) => {
                    tracing::warn!(%error, "a server could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, AbortableListener>> for ConnectionAbort {
    fn connect_info(stream: IncomingStream<'_, AbortableListener>) -> Self {
        stream.io().abort.clone()
    }
}

fn connection_reset_error() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

impl AsyncRead for AbortableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.abort.0.waker.register(cx.waker());
        if self.abort.is_aborted() {
            return Poll::Ready(Err(connection_reset_error()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for AbortableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.abort.is_aborted() {
            return Poll::Ready(Err(connection_reset_error()));
        }
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
