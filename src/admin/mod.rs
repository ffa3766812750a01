//! The admin sockets: binding, connections, levels and prompt mode. What is said on them is `core::admin`.
//!
//! Reading order: [`bind`] opens the sockets, [`connection`] talks with one peer, [`answer`] carries one order out, with
//! [`certificates`] and [`diagnose`] for what those words say. All of it runs on the control thread; what it needs of the rest of the process it asks through [`Orders`].

pub mod answer;
pub mod bind;
pub mod certificates;
pub mod connection;
pub mod diagnose;

use std::cell::{Ref, RefMut};
use std::collections::HashSet;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use bind::{AdminServer, BindError};
use bind::{Bound, Listening};
use connection::Connection;

use crate::core::admin::diagnosis::Remembered;
use crate::core::admin::patterns::PatternOrder;
use crate::core::admin::threads::WorkerView;
use crate::core::admin::{CapturedError, CertificateView, StreamRow, TableRow, TableView};
use crate::core::fleet::event::Event;
use crate::core::fleet::spec::ServerId;
use crate::core::fleet::{Fleet, Refusal};
use crate::core::limit::{DataType, SetError};
use crate::core::stats::prometheus::MetricsQuery;
use crate::core::stats::{ProcessFacts, Rates};
use crate::tls::Certificates;

/// Something that takes time, on this thread.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What the admin room needs of the process; the control task implements it.
///
/// The borrows it hands out are dropped before anything is awaited.
pub trait Orders {
    /// State and counters.
    fn fleet(&self) -> Ref<'_, Fleet>;
    /// Per-second values.
    fn rates(&self) -> Ref<'_, Rates>;
    /// What only the process knows.
    fn facts(&self) -> ProcessFacts;
    /// Lets an event happen, its effects included.
    fn apply(&self, event: Event) -> Result<(), Refusal>;
    /// Every stream being served, as the workers tell it.
    fn streams(&self) -> Later<'_, Vec<StreamRow>>;
    /// Waits until the workers have done what they were ordered to do so far.
    fn settled(&self) -> Later<'_, ()>;
    /// What every worker does and keeps. One that does not answer in time is left out.
    fn workers(&self) -> Later<'_, Vec<WorkerView>>;
    /// Every certificate in memory, for lists and for telling when they expire.
    fn certificates(&self) -> Vec<CertificateView>;
    /// The certificates, to look at and to change.
    fn certificate_store(&self) -> RefMut<'_, Certificates>;
    /// Looks at all files of certificates, revocation lists and ticket keys now, and takes what has changed into use. A
    /// line for each change; `None` when there are no such files.
    fn look_at_certificates(&self) -> Later<'_, Option<String>>;
    /// What is remembered and counted for `show events`, `show startup-logs`, `show resolvers` and `show fd`.
    fn remembered(&self) -> Remembered;
    /// Writes an event to the log and keeps it for `show events`; syslog's severity.
    fn log_event(&self, severity: u8, text: &str);
    /// Ends a stream. One that has ended meanwhile is no mistake.
    fn kill_stream(&self, id: u64);
    /// Ends every stream of a server, those that wait for it included.
    fn kill_server_streams(&self, server: ServerId);
    /// Every rate-limit table, in configuration order.
    fn tables(&self) -> Vec<TableView>;
    /// The entries of one of them.
    fn table_rows(&self, table: &str) -> Vec<TableRow>;
    /// Removes these entries, or every one.
    fn clear_table(&self, table: &str, keys: Option<&HashSet<&str>>);
    /// Sets numbers of an entry, which is made if there is none.
    fn set_table(&self, table: &str, key: &str, values: &[(DataType, u64)]) -> Result<(), SetError>;
    /// Looks into a map or an access list, or changes it. `Err` is why nothing was changed.
    fn patterns(&self, order: PatternOrder) -> Result<String, String>;
    /// The broken messages that are kept, oldest first, and how many there ever were.
    fn errors(&self) -> (Vec<CapturedError>, u64);
    /// Everything that is counted, as a page of metrics.
    fn metrics(&self, query: &MetricsQuery) -> String;
    /// Forgets maxima, or all counters ([`Fleet::clear_counters`], [`Rates::clear_maxima`]).
    fn clear_counters(&self, all: bool);
    /// Counts one more admin connection (`CumConns`).
    fn count_connection(&self);
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock.
    fn wall(&self) -> SystemTime;
}

impl AdminServer {
    /// Serves every bound socket until dropped; connections then end, and the sockets' files go.
    ///
    /// Needs a `LocalSet` or a `LocalRuntime` around it, with I/O and time enabled.
    ///
    /// # Errors
    /// A socket could not be handed to the runtime.
    pub async fn serve(self, orders: Rc<dyn Orders>) -> std::io::Result<std::convert::Infallible> {
        let listed: Rc<str> = self.listed().into();
        let mut accepting = JoinSet::new();
        for bound in self.sockets {
            let listening = bound.listen()?;
            accepting.spawn_local(accept_all(bound, listening, Rc::clone(&listed), Rc::clone(&orders)));
        }
        // Accepting never ends by itself; a panic in it must not go unseen.
        while let Some(ended) = accepting.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        std::future::pending().await
    }
}

/// Waits this long before it accepts again after an error, such as too many open descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn accept_all(bound: Bound, listening: Listening, listed: Rc<str>, orders: Rc<dyn Orders>) {
    let places = Arc::new(Semaphore::new(bound.maxconn.max(1) as usize));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, who) = match listening.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, socket = %bound.name, "admin connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        orders.count_connection();
        let connection = Connection::new(Rc::clone(&orders), Rc::clone(&listed), bound.level, bound.timeout, who);
        connections.spawn_local(async move {
            connection.converse(stream).await;
            drop(place);
        });
    }
}
