//! HTTP on a socket of the world, with one power an ordinary server lacks: a handler can cut its
//! own connection, because a reply that never comes is a fault the sandbox must be able to cause.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// Cuts the connection that a request came on: the peer sees a reset (RST), not an orderly end.
/// Every request carries one among its extensions.
#[derive(Clone, Debug, Default)]
pub struct Scissors(Arc<Notify>);

impl Scissors {
    /// Resets the connection. The caller should then wait for ever: nobody reads its answer.
    pub fn cut(&self) {
        self.0.notify_one();
    }
}

/// A running server. Dropping it closes the socket and every connection at once.
#[derive(Debug)]
pub struct Listening {
    /// The address really bound (a port 0 is replaced by the one given).
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves HTTP/1.1 on `address` until the result is dropped.
///
/// # Errors
/// What binding says: the address is not on this machine, or the port is taken.
pub async fn listen<S, B>(address: SocketAddr, service: S) -> io::Result<Listening>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, service.clone()));
                    }
                    // Out of file descriptors, or the peer left before we took it: neither is a
                    // reason to stop serving the others.
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection");
                        tokio::task::yield_now().await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    });
    Ok(Listening { address, task })
}

/// One connection, until the peer leaves or a handler cuts it.
async fn converse<S, B>(stream: TcpStream, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // The second handle on the same socket outlives the connection's own, so that the last
    // close can be told to send a reset.
    let (stream, handle) = match twice(stream) {
        Ok(pair) => pair,
        Err(error) => {
            tracing::warn!(%error, "preparing a connection");
            return;
        }
    };
    let scissors = Scissors::default();
    let cut = scissors.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(scissors.clone());
        service.call(request)
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        ended = &mut connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        },
        () = cut.0.notified() => {
            if let Err(error) = handle.set_zero_linger() {
                tracing::warn!(%error, "preparing a reset: the peer sees an end of file instead");
            }
        }
    }
}

fn twice(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let handle = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(handle)?))
}
