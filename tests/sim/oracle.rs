//! The promises about health, kept apart from the fleet's own arithmetic: how many passes a server owes before it may be
//! given a new request, and what an operator last said.

use std::collections::BTreeMap;

use lockgate::core::fleet::Fleet;
use lockgate::core::fleet::event::ForcedHealth;
use lockgate::core::fleet::spec::{InitialState, ReturnFromDrain, ReturnFromMaint, ServerId, ServerSpec};
use lockgate::core::server::AdminState;

/// What is known of one server.
#[derive(Debug, Clone)]
struct Debt {
    admin: AdminState,
    /// Passes in a row it needs before new requests.
    owes: u32,
    passes: u32,
    /// Fails in a row.
    fails: u32,
    rise: u32,
    fall: u32,
    /// NOLB: owes a pass, but stays what it is until enough failures.
    stopping: bool,
    has_checks: bool,
    initial: InitialState,
    return_from_drain: ReturnFromDrain,
    return_from_maint: ReturnFromMaint,
    /// The probe whose result will count.
    ticket: Option<u64>,
    /// Its agent said down, and nobody has said otherwise since.
    down_by_agent: bool,
    /// The server it tracks.
    lead: Option<ServerId>,
}

/// The promises of all servers.
#[derive(Debug)]
pub struct Oracle(BTreeMap<ServerId, Debt>);

impl Debt {
    fn new(spec: &ServerSpec, admin: AdminState, has_checks: bool) -> Debt {
        let (rise, fall) = spec.check.as_ref().map_or((1, 1), |c| (c.rise, c.fall));
        let mut debt = Debt {
            admin,
            owes: 0,
            passes: 0,
            fails: 0,
            rise,
            fall,
            stopping: false,
            has_checks,
            initial: spec.initial,
            return_from_drain: spec.return_from_drain,
            return_from_maint: spec.return_from_maint,
            ticket: None,
            down_by_agent: false,
            lead: None,
        };
        debt.start();
        debt
    }

    fn owe(&mut self, passes: u32) {
        (self.owes, self.passes, self.fails, self.stopping) = (passes, 0, 0, false);
    }

    fn start(&mut self) {
        if self.admin == AdminState::Maint || !self.has_checks {
            return self.owe(0);
        }
        match self.initial {
            InitialState::Up => {
                self.owe(0);
                // One failure is enough until the first pass.
                self.fails = self.fall - 1;
            }
            InitialState::Checks => self.owe(self.rise),
            // The first result alone decides.
            InitialState::First => self.owe(1),
        }
    }
}

impl Oracle {
    pub fn new(fleet: &Fleet) -> Oracle {
        let debt = |s: &lockgate::core::fleet::ServerEntry| Debt {
            lead: s.spec.track.as_deref().map(|lead| fleet.find_server(lead).expect("a server that is tracked stays")),
            ..Debt::new(&s.spec, s.state.admin, s.state.checks_enabled)
        };
        Oracle(fleet.servers().map(|s| (s.id, debt(s))).collect())
    }

    /// A server that was added at run time: in maintenance, its checks off.
    pub fn meet(&mut self, server: ServerId, spec: &ServerSpec) {
        self.0.insert(server, Debt::new(spec, AdminState::Maint, false));
    }

    pub fn forget(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    fn debt(&mut self, server: ServerId) -> &mut Debt {
        self.0.get_mut(&server).expect("servers of this world are known")
    }

    pub fn probed(&mut self, server: ServerId, ticket: u64) {
        self.debt(server).ticket = Some(ticket);
    }

    pub fn is_current(&mut self, server: ServerId, ticket: u64) -> bool {
        self.debt(server).ticket == Some(ticket)
    }

    pub fn checked(&mut self, server: ServerId, passed: bool) {
        let debt = self.debt(server);
        debt.ticket = None;
        if passed {
            debt.fails = 0;
            debt.passes += 1;
            if debt.passes >= debt.owes {
                debt.owe(0);
            }
            return;
        }
        if debt.owes > 0 && !debt.stopping {
            // Every failure starts the count anew.
            let owes = debt.rise;
            return debt.owe(owes);
        }
        debt.fails += 1;
        if debt.fails >= debt.fall {
            let owes = debt.rise;
            debt.owe(owes);
        }
    }

    pub fn admin(&mut self, server: ServerId, to: AdminState) {
        let debt = self.debt(server);
        let from = std::mem::replace(&mut debt.admin, to);
        match (from, to) {
            (AdminState::Maint, AdminState::Maint) => {}
            (_, AdminState::Maint) => debt.ticket = None,
            (AdminState::Maint, _) => {
                debt.owe(0);
                if debt.has_checks {
                    match debt.return_from_maint {
                        ReturnFromMaint::Checks => debt.owe(debt.rise),
                        ReturnFromMaint::Up => debt.fails = debt.fall - 1,
                    }
                }
            }
            (AdminState::Drain, AdminState::Ready)
                if debt.has_checks && debt.return_from_drain == ReturnFromDrain::Checks =>
            {
                debt.ticket = None;
                debt.owe(debt.rise);
            }
            _ => {}
        }
    }

    pub fn health(&mut self, server: ServerId, health: ForcedHealth) {
        let debt = self.debt(server);
        match health {
            _ if debt.admin == AdminState::Maint => {}
            ForcedHealth::Up => {
                debt.owe(0);
                debt.down_by_agent = false;
            }
            ForcedHealth::Down => debt.owe(debt.rise),
            ForcedHealth::Stopping => {
                debt.owe(1);
                debt.stopping = true;
                debt.down_by_agent = false;
            }
        }
    }

    /// What an agent says of health. Where no check is made its word alone brings a server up.
    pub fn agent(&mut self, server: ServerId, up: bool) {
        let debt = self.debt(server);
        debt.down_by_agent = !up;
        if up && !debt.has_checks {
            debt.owe(0);
        }
    }

    /// A name got its first address.
    pub fn resolved(&mut self, server: ServerId) {
        self.debt(server).start();
    }

    pub fn checks(&mut self, server: ServerId, enabled: bool) {
        let debt = self.debt(server);
        debt.has_checks = enabled;
        debt.ticket = None;
    }

    /// May this server be given a new request by load balancing?
    pub fn may_pick(&self, server: ServerId) -> Result<(), String> {
        let debt = &self.0[&server];
        if debt.admin != AdminState::Ready {
            return Err(format!("{server:?} is not ready: {debt:?}"));
        }
        if debt.owes > 0 {
            return Err(format!("{server:?} has not had its passes: {debt:?}"));
        }
        if debt.down_by_agent {
            return Err(format!("the agent of {server:?} has it down: {debt:?}"));
        }
        debt.lead.map_or(Ok(()), |lead| self.may_pick(lead))
    }

    /// May it be given a request that is bound to it?
    pub fn may_bind(&self, server: ServerId) -> Result<(), String> {
        let debt = &self.0[&server];
        if debt.admin == AdminState::Maint {
            return Err(format!("{server:?} is in maintenance: {debt:?}"));
        }
        debt.lead.map_or(Ok(()), |lead| self.may_bind(lead))
    }
}
