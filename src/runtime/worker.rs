//! Worker threads: how they are started and spoken to. What a worker does is in `frontend`.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::gate::Place;
use crate::core::admin::StreamRow;
use crate::core::admin::threads::WorkerView;
use crate::core::fleet::frontends::FrontendStatus;
use crate::core::fleet::spec::ServerId;
use crate::core::termination::Cause;

/// What a worker can be asked.
#[derive(Debug)]
pub enum WorkerOrder {
    /// List the streams.
    ListStreams(oneshot::Sender<Vec<StreamRow>>),
    /// Tell what it does and keeps.
    Describe(oneshot::Sender<WorkerView>),
    /// End one stream, if this worker has it.
    KillStream {
        /// Its id.
        id: u64,
        /// Why.
        cause: Cause,
    },
    /// End all streams on a server.
    KillServerStreams {
        /// Which.
        server: ServerId,
        /// Why.
        cause: Cause,
    },
    /// Close the idle connections kept to a server.
    CloseIdle(ServerId),
    /// Listening sockets of a frontend are to do as its status says.
    SetListening {
        /// Position of the frontend.
        frontend: usize,
        /// Its status.
        status: FrontendStatus,
    },
    /// Say when everything ordered before is done.
    Report(oneshot::Sender<()>),
    /// Take over a connection that a busier worker accepted.
    Adopt(Handover),
    /// Close idle connections, end keep-alive, return when the last connection is gone.
    Drain,
    /// Close everything and return.
    Stop,
}

/// A connection on its way from one worker to another.
#[derive(Debug)]
pub struct Handover {
    /// The socket.
    pub socket: std::net::TcpStream,
    /// Of which bind.
    pub bind: usize,
    /// The client.
    pub peer: Option<std::net::SocketAddr>,
    /// Its places under the process's and the frontend's `maxconn`.
    pub places: (Place, Place),
}

/// The way to one worker.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    /// Its position.
    pub index: usize,
    /// Orders.
    pub orders: mpsc::UnboundedSender<WorkerOrder>,
}

/// Starts a thread with its own single-threaded runtime and runs `work` on it to the end.
pub fn spawn<F, W>(name: String, work: F) -> std::io::Result<JoinHandle<()>>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = ()> + 'static,
{
    std::thread::Builder::new().name(name).spawn(move || match local_runtime() {
        Ok(runtime) => runtime.block_on(async move { work().await }),
        Err(error) => tracing::error!(%error, "cannot start a worker's runtime"),
    })
}

/// A single-threaded runtime whose tasks need not be `Send`.
pub fn local_runtime() -> std::io::Result<tokio::runtime::LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_all().event_interval(61).build_local(Default::default())
}
