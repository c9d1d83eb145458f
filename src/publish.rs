//! Publishing: what owners do with their APIs and consumers, whoever they are. Each change is written
//! in one call with its audit entry; then what rested on what was changed ends, before anybody is told.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Definition, Owner, State};
use crate::clock::UnixMillis;
use crate::grant::{ApiId, Grant};
use crate::live::{Entry, LiveTable};
use crate::passwords::Passwords;
use crate::refusal::{OperatorRefusal, Refusal};
use crate::registry::apis::record::ApiRecord;
use crate::registry::apis::{APIS_MAX, APIS_PER_TENANT_MAX};
use crate::registry::audit::{Act, By};
use crate::registry::store::StoreError;
use crate::registry::{ChangeError, Registry, away};
use crate::revoke::recheck_api;
use crate::tenant::TenantId;

pub mod applications;
pub mod consumers;
pub mod portal;
pub mod subscriptions;
pub mod view;

/// The longest notice before what runs on a retired API is cut.
const NOTICE_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// The notice if none is said.
const NOTICE: Duration = Duration::from_secs(60);
/// The longest definition, in bytes of JSON.
pub const DEFINITION_BYTES_MAX: usize = 128 * 1024;

/// There is none, or none of the owner's.
pub const NO_API: Refusal = Refusal::Operator(OperatorRefusal::Missing("There is no such API."));

const API_BLOCKED: &str = "An operator has blocked this API.";

/// Where changes go, and whose they are.
#[derive(Clone, Copy, Debug)]
pub struct Publishing<'a> {
    /// Where APIs live.
    pub registry: &'a Registry,
    /// What runs.
    pub live: &'a LiveTable,
    /// Where passwords are hashed.
    pub passwords: &'a Passwords,
}

/// Where an API is to go in its life.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApiState)]
pub struct NewState {
    /// The state.
    pub state: State,
    /// For `retired`: for how long what runs goes on, in seconds; 60 if nothing is said. Nothing new
    /// begins.
    #[serde(default)]
    #[schema(nullable = false, minimum = 0, maximum = 34_560_000)]
    pub notice_seconds: Option<u64>,
}

/// Whether an API begins as one that is made, or is published at once.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Publish {
    /// Create and publish in one step.
    #[serde(default)]
    pub publish: bool,
}

/// What came of a change.
#[derive(Clone, Debug)]
pub struct Changed<T> {
    /// As it is now.
    pub present: Arc<T>,
    /// How many connections and plain requests it ended here.
    pub ended: usize,
}

impl Publishing<'_> {
    /// An API of the owner's; of anybody's for `None`.
    ///
    /// # Errors
    /// There is none; or the registry cannot be asked.
    pub async fn api(self, owner: Option<Owner>, id: &str) -> Result<Arc<Api>, Refusal> {
        self.registry.know_apis().await.map_err(away)?;
        let api = ApiId::from_hex(id).and_then(|id| self.registry.directory().api(id));
        let is_theirs = |api: &Arc<Api>| owner.is_none_or(|owner| owner == api.owner);
        api.filter(is_theirs).ok_or(NO_API)
    }

    /// Creates an API.
    ///
    /// # Errors
    /// What is wrong with the definition, a context that another has, a limit, or the store's.
    pub async fn create(
        self,
        act: &Act,
        owner: Owner,
        definition: Definition,
        publish: Publish,
    ) -> Result<Arc<Api>, Refusal> {
        self.check(&definition, owner, None).await?;
        self.check_room(owner).await?;
        let record = ApiRecord {
            owner: owner.to_string(),
            definition,
            state: if publish.publish { State::Published } else { State::Created },
            blocked_by_operator: false,
            ends_unix_ms: None,
            created_unix_ms: self.now().0,
        };
        let api = self.registry.create_api(act, &record).await.map_err(unwritten)?;
        tracing::info!(api = %api.id, prefix = %api.prefix, by = act.who, "API created");
        Ok(api)
    }

    /// Replaces what an API's owner says of it. What no longer has what the API asks for ends.
    ///
    /// # Errors
    /// As [`Publishing::create`]; what `condition` says of the revision.
    pub async fn define(
        self,
        act: &Act,
        before: &Api,
        definition: Definition,
        condition: impl Fn(u64) -> Result<(), Refusal>,
    ) -> Result<Changed<Api>, Refusal> {
        self.check(&definition, before.owner, Some(before)).await?;
        let change = |record: &mut ApiRecord, revision| {
            condition(revision)?;
            check_block(act, record.blocked_by_operator, API_BLOCKED)?;
            record.definition.clone_from(&definition);
            Ok(())
        };
        self.change(act, before, change).await
    }

    /// Moves an API on in its life.
    ///
    /// # Errors
    /// 409 for a move that there is not; or the store's.
    pub async fn set_state(
        self,
        act: &Act,
        before: &Api,
        wanted: NewState,
    ) -> Result<Changed<Api>, Refusal> {
        const NO_MOVE: Refusal =
            Refusal::Conflicting("The API cannot go there from the state it is in.");
        let NewState { state, notice_seconds } = wanted;
        let bad = |what: &str| Refusal::BadInput(what.to_owned());
        let notice = match (state, notice_seconds) {
            (State::Retired, said) => Some(said.map_or(NOTICE, Duration::from_secs)),
            (_, None) => None,
            (_, Some(_)) => return Err(bad("notice_seconds is for the state retired.")),
        };
        if notice.is_some_and(|notice| notice > NOTICE_MAX) {
            return Err(bad("notice_seconds must be at most 400 days."));
        }
        let ends_unix_ms = notice.map(|notice| self.now().plus(notice).0);
        let is_block = act.by == By::Operator && state == State::Blocked;
        let change = |record: &mut ApiRecord, _| {
            check_block(act, record.blocked_by_operator, API_BLOCKED)?;
            record.blocked_by_operator = is_block && before.owner != Owner::Operator;
            if record.state == state {
                return Ok(());
            }
            if !record.state.moves().contains(&state) {
                return Err(NO_MOVE);
            }
            (record.state, record.ends_unix_ms) = (state, ends_unix_ms);
            Ok(())
        };
        self.change(act, before, change).await
    }

    /// Removes an API. Returns how much that has ended.
    ///
    /// # Errors
    /// What `condition` says of the revision, or the store's.
    pub async fn remove(
        self,
        act: &Act,
        before: &Api,
        condition: impl Fn(u64) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        let check = |record: &ApiRecord, revision| {
            condition(revision)?;
            check_block(act, record.blocked_by_operator, API_BLOCKED)
        };
        let running = self.running_on(before);
        let removed = self.registry.remove_api(act, before.id, check).await;
        removed.map_err(|error| refused(error, NO_API))?;
        let ended = self.end(before, &running);
        tracing::info!(api = %before.id, prefix = %before.prefix, ended, by = act.who, "API removed");
        Ok(ended)
    }

    async fn change(
        self,
        act: &Act,
        before: &Api,
        change: impl FnMut(&mut ApiRecord, u64) -> Result<(), Refusal>,
    ) -> Result<Changed<Api>, Refusal> {
        let running = self.running_on(before);
        let changed = self.registry.change_api(act, before.id, change).await;
        let (present, ()) = changed.map_err(|error| refused(error, NO_API))?;
        let ended = self.end(before, &running);
        let state = present.state.as_str();
        tracing::info!(api = %present.id, prefix = %present.prefix, state, ended, by = act.who, "API changed");
        Ok(Changed { present, ended })
    }

    fn running_on(self, api: &Api) -> Vec<Arc<Entry>> {
        self.running(api.account_id(), |grant| grant.api() == Some(api.id))
    }

    /// What runs that rests on such a grant. Counted among these what a change has ended: by the time
    /// that the change is made, the feed may have ended some.
    fn running(self, account: TenantId, is_meant: impl Fn(&Grant) -> bool) -> Vec<Arc<Entry>> {
        let mut entries = self.live.entries_of(account);
        entries.retain(|entry| is_meant(&entry.grant) && entry.closing().is_none());
        entries
    }

    fn end(self, before: &Api, running: &[Arc<Entry>]) -> usize {
        recheck_api(self.live, self.registry, before.id, before.account_id());
        count_ended(running)
    }

    async fn check(
        self,
        definition: &Definition,
        owner: Owner,
        before: Option<&Api>,
    ) -> Result<(), Refusal> {
        const TAKEN: Refusal = Refusal::Conflicting(
            "The context and version stand below another owner's, or another owner's below them.",
        );
        ApiRecord::check(definition, owner).map_err(Refusal::BadInput)?;
        let prefix = definition.check(owner).map_err(Refusal::BadInput)?;
        if before.is_none_or(|before| before.prefix != prefix) {
            self.registry.know_apis().await.map_err(away)?;
            if self.registry.directory().overlaps(&prefix, owner) {
                return Err(TAKEN);
            }
        }
        for plan in &definition.plans {
            if self.registry.plan_named(plan).await.map_err(away)?.is_none() {
                return Err(Refusal::BadInput("plans names something that is no plan.".to_owned()));
            }
        }
        Ok(())
    }

    async fn check_room(self, owner: Owner) -> Result<(), Refusal> {
        self.registry.know_apis().await.map_err(away)?;
        let directory = self.registry.directory();
        let is_full = match owner {
            Owner::Operator => false,
            Owner::Tenant(_) => directory.apis_of(owner).len() >= APIS_PER_TENANT_MAX,
        };
        match is_full || directory.counts().0 >= APIS_MAX {
            true => Err(Refusal::Conflicting("There are as many APIs as there can be.")),
            false => Ok(()),
        }
    }

    fn now(self) -> UnixMillis {
        self.registry.wall().now()
    }
}

/// What an operator has blocked stays as it is for everybody else, who is told `why`.
fn check_block(act: &Act, is_blocked: bool, why: &'static str) -> Result<(), Refusal> {
    match is_blocked && act.by != By::Operator {
        true => Err(Refusal::Conflicting(why)),
        false => Ok(()),
    }
}

fn count_ended(running: &[Arc<Entry>]) -> usize {
    running.iter().filter(|entry| entry.closing().is_some()).count()
}

/// What whoever wanted a change is told.
fn refused(error: ChangeError<Refusal>, gone: Refusal) -> Refusal {
    match error {
        ChangeError::Refused(refusal) => refusal,
        ChangeError::Gone => gone,
        ChangeError::Busy => Refusal::Overloaded("too many changes wait"),
        ChangeError::Store(error) => unwritten(error),
    }
}

/// What is said of a write that was not made.
fn unwritten(error: StoreError) -> Refusal {
    match error {
        StoreError::IndexTaken { index, .. } if index.starts_with("prefix:") => {
            Refusal::Conflicting("There is an API with this context and version.")
        }
        StoreError::IndexTaken { index, .. } if index.starts_with("name:") => {
            Refusal::Conflicting("There is a consumer of that name.")
        }
        StoreError::IndexTaken { index, .. } if index.starts_with("application:") => {
            Refusal::Conflicting("There is an application of that name.")
        }
        StoreError::IndexTaken { index, .. } if index.starts_with("key:") => {
            Refusal::Conflicting("Another consumer has this key.")
        }
        StoreError::IndexTaken { index, .. } if index.starts_with("claim:") => {
            Refusal::Conflicting("Another consumer's tokens have this key.")
        }
        StoreError::Invalid(_) => Refusal::Conflicting("That is more than can be stored of one."),
        error => crate::change::unwritten(error),
    }
}
