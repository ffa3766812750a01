//! What the admin sockets may ask of the control task.

use std::cell::{Ref, RefMut};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::ControlHandle;
use crate::admin::{Later, Orders};
use crate::core::admin::diagnosis::Remembered;
use crate::core::admin::patterns::{self, PatternOrder};
use crate::core::admin::threads::WorkerView;
use crate::core::admin::{CapturedError, CertificateView, StreamRow, TableRow, TableView};
use crate::core::fleet::event::Event;
use crate::core::fleet::spec::ServerId;
use crate::core::fleet::{Fleet, Refusal};
use crate::core::limit::{DataType, RateTable, SetError};
use crate::core::stats::prometheus::MetricsQuery;
use crate::core::stats::{ProcessFacts, Rates};
use crate::core::termination::Cause;
use crate::runtime::clock;
use crate::runtime::shared::BadMessage;
use crate::runtime::worker::WorkerOrder;
use crate::tls::Certificates;

/// How long a worker may take to list its streams before it is left out.
const LISTING: Duration = Duration::from_secs(1);

/// The control task as the admin room sees it.
pub struct ControlOrders(ControlHandle);

impl ControlOrders {
    /// Lets the admin room speak to `control`.
    pub fn new(control: ControlHandle) -> ControlOrders {
        ControlOrders(control)
    }

    fn table(&self, name: &str) -> Option<Arc<RateTable>> {
        let control = self.0.control.borrow();
        control.shared.rate_tables.iter().flatten().find(|t| &*t.spec().name == name).cloned()
    }
}

impl Orders for ControlOrders {
    fn fleet(&self) -> Ref<'_, Fleet> {
        Ref::map(self.0.control.borrow(), |c| &c.fleet)
    }

    fn rates(&self) -> Ref<'_, Rates> {
        Ref::map(self.0.control.borrow(), |c| &c.rates)
    }

    fn facts(&self) -> ProcessFacts {
        self.0.control.borrow().facts()
    }

    fn apply(&self, event: Event) -> Result<(), Refusal> {
        self.0.apply(event)
    }

    fn streams(&self) -> Later<'_, Vec<StreamRow>> {
        let workers = self.0.control.borrow().workers.clone();
        Box::pin(async move {
            let mut replies = Vec::with_capacity(workers.len());
            for worker in &workers {
                let (sender, receiver) = oneshot::channel();
                if worker.orders.send(WorkerOrder::ListStreams(sender)).is_ok() {
                    replies.push(receiver);
                }
            }
            let mut rows = Vec::new();
            for reply in replies {
                if let Ok(Ok(listed)) = tokio::time::timeout(LISTING, reply).await {
                    rows.extend(listed);
                }
            }
            rows
        })
    }

    fn settled(&self) -> Later<'_, ()> {
        let workers = self.0.control.borrow().workers.clone();
        Box::pin(async move {
            let reports = workers.iter().map(|worker| {
                let (sender, receiver) = oneshot::channel();
                let _ = worker.orders.send(WorkerOrder::Report(sender));
                receiver
            });
            for report in reports.collect::<Vec<_>>() {
                let _ = tokio::time::timeout(LISTING, report).await;
            }
        })
    }

    fn workers(&self) -> Later<'_, Vec<WorkerView>> {
        let workers = self.0.control.borrow().workers.clone();
        Box::pin(async move {
            let asked = workers.iter().filter_map(|worker| {
                let (sender, receiver) = oneshot::channel();
                worker.orders.send(WorkerOrder::Describe(sender)).is_ok().then_some(receiver)
            });
            let mut views = Vec::new();
            for reply in asked.collect::<Vec<_>>() {
                views.extend(tokio::time::timeout(LISTING, reply).await.into_iter().flatten());
            }
            views
        })
    }

    fn certificates(&self) -> Vec<CertificateView> {
        self.0.control.borrow().certificates.views()
    }

    fn certificate_store(&self) -> RefMut<'_, Certificates> {
        RefMut::map(self.0.control.borrow_mut(), |control| &mut control.certificates)
    }

    fn look_at_certificates(&self) -> Later<'_, Option<String>> {
        let looking = self.0.look_at_certificates();
        Box::pin(async move { looking?.await.ok() })
    }

    fn remembered(&self) -> Remembered {
        self.0.control.borrow().remembered()
    }

    fn log_event(&self, severity: u8, text: &str) {
        self.0.control.borrow_mut().log_event(severity, text);
    }

    fn kill_stream(&self, id: u64) {
        self.0.order_all(|| WorkerOrder::KillStream { id, cause: Cause::Killed });
    }

    fn kill_server_streams(&self, server: ServerId) {
        self.0.order_all(|| WorkerOrder::KillServerStreams { server, cause: Cause::Killed });
    }

    fn tables(&self) -> Vec<TableView> {
        let control = self.0.control.borrow();
        control.shared.rate_tables.iter().flatten().map(|table| TableView::from(&**table)).collect()
    }

    fn table_rows(&self, table: &str) -> Vec<TableRow> {
        let Some(table) = self.table(table) else { return Vec::new() };
        table.rows(clock::now())
    }

    fn clear_table(&self, table: &str, keys: Option<&HashSet<&str>>) {
        if let Some(table) = self.table(table) {
            table.clear(keys, clock::now());
        }
    }

    fn set_table(&self, table: &str, key: &str, values: &[(DataType, u64)]) -> Result<(), SetError> {
        self.table(table).ok_or(SetError::Key)?.set(key, values, clock::now())
    }

    fn patterns(&self, order: PatternOrder) -> Result<String, String> {
        patterns::carry_out(order, &mut self.0.control.borrow_mut().patterns)
    }

    fn errors(&self) -> (Vec<CapturedError>, u64) {
        let control = self.0.control.borrow();
        let first = control.errors_total - control.errors.len() as u64;
        let errors = control.errors.iter().zip(first..).map(|(bad, number)| captured(bad, number, &control.fleet));
        (errors.collect(), control.errors_total)
    }

    fn metrics(&self, query: &MetricsQuery) -> String {
        self.0.metrics(query)
    }

    fn clear_counters(&self, all: bool) {
        let control = &mut *self.0.control.borrow_mut();
        control.fleet.clear_counters(all);
        control.rates.clear_maxima();
    }

    fn count_connection(&self) {
        let control = self.0.control.borrow();
        control.shared.process.admin_connections.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn wall(&self) -> SystemTime {
        clock::wall()
    }
}

fn captured(bad: &BadMessage, number: u64, fleet: &Fleet) -> CapturedError {
    let frontend = fleet.frontends().iter().find(|f| f.spec.name == bad.frontend);
    let backend = bad.backend.as_ref().and_then(|(b, _)| fleet.backends().iter().find(|x| x.spec.name == *b));
    let server = bad.backend.as_ref().zip(backend).and_then(|((_, name), b)| {
        let sid = b.servers.iter().find(|s| s.spec.name == *name)?.sid;
        Some((name.clone(), sid))
    });
    CapturedError {
        number,
        at: UNIX_EPOCH + Duration::from_micros(bad.at_us),
        request: bad.backend.is_none(),
        frontend: (bad.frontend.clone(), frontend.map_or(0, |f| f.spec.iid)),
        backend: backend.map(|b| (b.spec.name.clone(), b.spec.iid)),
        server,
        source: bad.client,
        bytes: bad.bytes.clone().into(),
        position: bad.position,
        reason: bad.reason.as_str().into(),
    }
}
