//! A TCP listener whose connections can be broken from inside a handler, which HTTP libraries do not offer.

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

/// Breaks the connection it belongs to; a handler gets it as `ConnectInfo<Cord>`.
#[derive(Clone, Debug)]
pub(crate) struct Cord(Arc<CordState>);

#[derive(Debug)]
struct CordState {
    from: SocketAddr,
    cut: AtomicBool,
    waker: AtomicWaker,
}

impl Cord {
    fn new(from: SocketAddr) -> Self {
        Self(Arc::new(CordState { from, cut: AtomicBool::default(), waker: AtomicWaker::default() }))
    }

    /// Who is at the other end.
    pub(crate) fn from(&self) -> SocketAddr {
        self.0.from
    }

    /// The peer sees the connection end without an answer. The caller must not answer afterwards.
    pub(crate) fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
        self.0.waker.wake();
    }

    fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
pub(crate) struct CordedListener(pub(crate) TcpListener);

#[derive(Debug)]
pub(crate) struct CordedStream {
    tcp: TcpStream,
    cord: Cord,
}

impl axum::serve::Listener for CordedListener {
    type Io = CordedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CordedStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((tcp, addr)) => return (CordedStream { tcp, cord: Cord::new(addr) }, addr),
                Err(error) => {
                    tracing::warn!(%error, "a server of this stack can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, CordedListener>> for Cord {
    fn connect_info(stream: IncomingStream<'_, CordedListener>) -> Self {
        stream.io().cord.clone()
    }
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

impl AsyncRead for CordedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.cord.0.waker.register(cx.waker());
        if self.cord.is_cut() {
            return Poll::Ready(Err(broken()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for CordedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cord.is_cut() {
            return Poll::Ready(Err(broken()));
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
