//! What analytics are told of a request: whose it is, and what was refused.

use std::sync::Arc;

use super::Journey;
use super::trail::Trail;
use crate::grant::Grant;
use crate::ledger::{Caller, Cell, Measure};
use crate::refusal::Refusal;
use crate::row::Row;
use crate::tenant::Tenant;

impl Journey {
    /// Where analytics sum up what a tenant's runtime, or an operator's API, is asked on this ground.
    pub(super) fn cell(&self, tenant: &Tenant, grant: &Grant) -> Option<Arc<Cell>> {
        let ledger = self.live.ledger()?;
        let (caller, own_plan) = self.caller(grant);
        let plan = own_plan.as_deref().or(tenant.plan_name.as_deref());
        Some(ledger.cell(Some(tenant.id), grant.api(), caller, plan))
    }

    /// Who a grant is for, and the plan's name where it is one of theirs.
    fn caller(&self, grant: &Grant) -> (Caller, Option<String>) {
        match grant {
            Grant::Consumer { consumer, .. } => (Caller::Consumer(*consumer), None),
            Grant::Token { subscription, .. } => {
                match self.registry.directory().subscribed(*subscription) {
                    Some(it) => (Caller::Application(it.application), it.plan_name),
                    None => (Caller::Nobody, None),
                }
            }
            Grant::Anonymous
            | Grant::Password { .. }
            | Grant::Key { .. }
            | Grant::Session { .. }
            | Grant::Open { .. } => (Caller::Nobody, None),
        }
    }

    /// Counts what was refused on a row that leads to runtimes, for whomever it concerns as far as that
    /// is known without asking anybody.
    pub(super) fn count_refusal(&self, trail: &Trail, refusal: &Refusal) {
        let Some(ledger) = self.live.ledger() else { return };
        if !Row::ALL.into_iter().any(|row| row.label() == trail.row) {
            return;
        }
        let claimed = match refusal {
            Refusal::WrongCredential { claimed, .. } => claimed.as_ref(),
            _ => None,
        };
        let username = trail.tenant.as_ref().or(claimed);
        let tenant = username.and_then(|username| self.registry.known(username));
        let api = trail.api.and_then(|id| self.registry.directory().api(id));
        let account = api.as_ref().map(|api| api.account_id());
        let (caller, own_plan) =
            trail.grant.as_ref().map(|grant| self.caller(grant)).unwrap_or_default();
        let plan = tenant.as_ref().and_then(|tenant| tenant.plan_name.as_deref());
        let plan = own_plan.as_deref().or(plan);
        let id = account.or(tenant.as_ref().map(|tenant| tenant.id));
        let cell = ledger.cell(id, api.map(|api| api.id), caller, plan);
        cell.add(Measure::Refusals, 1);
        if matches!(refusal, Refusal::PlanConnections { .. } | Refusal::PlanRate { .. }) {
            cell.add(Measure::Throttled, 1);
        }
    }
}
