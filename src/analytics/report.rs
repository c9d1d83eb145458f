//! Reports: numbers by time, for groups of what was counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use tokio::task::{JoinError, JoinSet};
use utoipa::ToSchema;

use super::Analytics;
use super::question::{By, Question, Span, Step};
use crate::api::Owner;
use crate::clock::UnixMillis;
use crate::grant::ApiId;
use crate::ledger::{Caller, Key, Sums, What};
use crate::refusal::Refusal;
use crate::registry::analytics::Subject;
use crate::registry::away;
use crate::registry::store::StoreError;
use crate::tenant::TenantId;

/// Groups of a report of one owner; the smallest are summed up as one.
const GROUPS_MAX: usize = 50;
/// Points that a report of all tenants may have; that of one owner has fewer in any case.
const POINTS_MAX: u64 = 200_000;
/// Series that are read for a report of one owner's; what is left is told as the rest.
const KEYS_READ_MAX: usize = 512;
/// Series that are read at once.
const READS_MAX: usize = 32;
const MINUTE_MS: u64 = 60_000;
/// The group of what had no room for numbers of its own, or is too much for one report.
const REST: &str = "(other)";

/// Whose numbers are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A tenant's and what they publish, or what the operators do.
    Owner(Owner),
    /// Some of the tenants', by their ids from behind this one on.
    All {
        /// The last one of the page before.
        after: Option<String>,
        /// How many.
        limit: usize,
    },
}

/// What was counted within some time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsReport)]
pub struct Report {
    /// What was asked for, in whole steps.
    #[serde(skip)]
    #[schema(ignore)]
    pub span: Span,
    /// The first moment.
    pub from: String,
    /// The first moment behind it.
    pub to: String,
    /// How long each point's time is.
    pub step: Step,
    /// What the groups are.
    pub by: By,
    /// For how many days anything is kept.
    pub kept_days: u32,
    /// Those of which there is anything, the largest first.
    pub groups: Vec<Group>,
    /// `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
    /// What is missing, if anything is known to be.
    pub incomplete: Vec<String>,
}

/// One group's numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsGroup)]
pub struct Group {
    /// The id of the tenant, API, consumer or application, or the plan's name, where it has one.
    pub id: Option<String>,
    /// For people.
    pub name: String,
    /// All of it.
    pub total: Sums,
    /// By time; where nothing was counted there is none.
    pub points: Vec<Point>,
}

/// What was counted in one step.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsPoint)]
pub struct Point {
    /// Its first moment.
    pub at: String,
    /// How much.
    #[serde(flatten)]
    pub counts: Sums,
}

/// What a group is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Of {
    Account(Option<TenantIdOrd>),
    Api(Option<ApiId>),
    Caller(Caller),
    Plan(Option<Arc<str>>),
    Rest,
}

/// An id that has an order, for groups of the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct TenantIdOrd(u128);

/// Numbers by the first moment of their step.
type Line = BTreeMap<u64, Sums>;

impl Analytics {
    /// Tells what was counted, by the question.
    ///
    /// # Errors
    /// 400 with what is wrong with the question; 503 if the registry cannot be asked.
    pub async fn report(&self, scope: &Scope, question: &Question) -> Result<Report, Refusal> {
        let span = question.span(self.registry.wall().now()).map_err(Refusal::BadInput)?;
        let by = question.by.unwrap_or_default();
        let api = match &question.api {
            Some(id) => Some(ApiId::from_hex(id).ok_or_else(|| bad("api must be an API's id."))?),
            None => None,
        };
        if let Scope::All { limit, .. } = scope
            && span.steps().saturating_mul(*limit as u64) > POINTS_MAX
        {
            return Err(bad("That is too much at once: ask for longer steps, or fewer tenants."));
        }
        let incomplete = self.freshen().await.into_iter().collect();
        let mut groups_max = GROUPS_MAX;
        let (lines, next) = match scope {
            Scope::Owner(owner) => {
                (self.lines_of(*owner, by, api, span).await.map_err(away)?, None)
            }
            Scope::All { .. } if by != By::Tenant || api.is_some() => {
                return Err(bad("Say whose: for all tenants there is by=tenant alone."));
            }
            Scope::All { after, limit } => {
                groups_max = usize::MAX;
                self.lines_of_all(after.as_deref(), *limit, span).await.map_err(away)?
            }
        };
        let mut groups = Vec::new();
        for (of, line) in largest(lines, groups_max) {
            groups.push(self.group(of, line).await);
        }
        let (from, to) = (span.from.to_string(), span.to.to_string());
        let (step, kept_days) = (span.step, self.kept_days());
        Ok(Report { span, from, to, step, by, kept_days, groups, next, incomplete })
    }

    async fn lines_of(
        &self,
        owner: Owner,
        by: By,
        api: Option<ApiId>,
        span: Span,
    ) -> Result<HashMap<Of, Line>, StoreError> {
        let accounts = match owner {
            Owner::Tenant(id) => vec![id],
            Owner::Operator => {
                self.registry.know_apis().await?;
                let apis = self.registry.directory().apis_of(owner);
                apis.iter().map(|api| api.account_id()).collect()
            }
        };
        let mut lines = HashMap::new();
        if by == By::Tenant && api.is_none() && span.step != Step::Minute {
            let subjects = accounts.into_iter().map(|id| (account(id), Subject::Tenant(Some(id))));
            self.read(subjects.collect(), span, &mut lines).await?;
            return Ok(lines);
        }
        let minutes = minutes(span);
        let (mut subjects, mut left_out) = (Vec::new(), Vec::new());
        for id in accounts {
            let mut keys: Vec<What> =
                self.registry.keys(Some(id), minutes.0, minutes.1).await?.into_iter().collect();
            keys.sort_by_cached_key(ToString::to_string);
            for what in keys {
                let Some(of) = group_of(&what, id, by, api) else { continue };
                match subjects.len() < KEYS_READ_MAX {
                    true => subjects.push((of, Subject::Key(Key { tenant: Some(id), what }))),
                    false => left_out.push(id),
                }
            }
        }
        self.read(subjects, span, &mut lines).await?;
        left_out.dedup();
        // What there is by the minute is of two days, and never so much.
        if api.is_none() && !left_out.is_empty() {
            self.add_the_rest(&left_out, span, &mut lines).await?;
        }
        Ok(lines)
    }

    /// What the groups lack of all of these accounts'.
    async fn add_the_rest(
        &self,
        accounts: &[TenantId],
        span: Span,
        lines: &mut HashMap<Of, Line>,
    ) -> Result<(), StoreError> {
        let mut told = Line::new();
        for (moment, sums) in lines.values().flatten() {
            told.entry(*moment).or_default().add_all(sums);
        }
        let mut all = HashMap::new();
        let subjects = accounts.iter().map(|id| (Of::Rest, Subject::Tenant(Some(*id))));
        self.read(subjects.collect(), span, &mut all).await?;
        let rest = lines.entry(Of::Rest).or_default();
        for (moment, sums) in all.into_values().flatten() {
            let before = told.get(&moment).copied().unwrap_or_default();
            rest.entry(moment).or_default().add_all(&sums.without(&before));
        }
        Ok(())
    }

    async fn lines_of_all(
        &self,
        after: Option<&str>,
        limit: usize,
        span: Span,
    ) -> Result<(HashMap<Of, Line>, Option<String>), StoreError> {
        let records = self.registry.records(after, limit).await?;
        let last = records.last().map(|(id, ..)| id.to_string());
        let next = last.filter(|_| records.len() >= limit);
        let mut tenants: Vec<Option<TenantId>> = records.iter().map(|(id, ..)| Some(*id)).collect();
        if after.is_none() {
            self.registry.know_apis().await?;
            let apis = self.registry.directory().apis_of(Owner::Operator);
            tenants.extend(apis.iter().map(|api| Some(api.account_id())));
            tenants.push(None);
        }
        let mut lines = HashMap::new();
        for some in tenants.chunks(READS_MAX) {
            let mut subjects = Vec::new();
            for tenant in some {
                let of = Of::Account(tenant.map(|id| TenantIdOrd(id.0)));
                match span.step {
                    Step::Minute => {
                        let (from, to) = minutes(span);
                        let keys = self.registry.keys(*tenant, from, to).await?;
                        let keys = keys.into_iter().map(|what| Key { tenant: *tenant, what });
                        subjects.extend(keys.map(|key| (of.clone(), Subject::Key(key))));
                    }
                    Step::Hour | Step::Day => subjects.push((of, Subject::Tenant(*tenant))),
                }
            }
            self.read(subjects, span, &mut lines).await?;
        }
        Ok((lines, next))
    }

    /// Reads series, some at once, and adds each to the line of its group.
    async fn read(
        &self,
        subjects: Vec<(Of, Subject)>,
        span: Span,
        lines: &mut HashMap<Of, Line>,
    ) -> Result<(), StoreError> {
        let minutes = minutes(span);
        let mut subjects = subjects.into_iter();
        let mut reads = JoinSet::new();
        loop {
            while reads.len() < READS_MAX
                && let Some((of, subject)) = subjects.next()
            {
                let registry = Arc::clone(&self.registry);
                reads.spawn(async move {
                    let read = registry.analytics(&subject, span.step.unit(), minutes).await;
                    read.map(|numbers| (of, numbers))
                });
            }
            let Some(read) = reads.join_next().await else { return Ok(()) };
            let died = |failure: JoinError| StoreError::Unavailable(failure.to_string());
            let (of, numbers) = read.map_err(died)??;
            if numbers.is_empty() {
                continue;
            }
            let line = lines.entry(of).or_default();
            for (minute, sums) in numbers {
                let at_ms = minute * MINUTE_MS;
                line.entry(at_ms - at_ms % span.step.ms()).or_default().add_all(&sums);
            }
        }
    }

    async fn group(&self, of: Of, line: Line) -> Group {
        let mut total = Sums::default();
        line.values().for_each(|sums| total.add_all(sums));
        let points = line.into_iter();
        let points =
            points.map(|(at, counts)| Point { at: UnixMillis(at).to_string(), counts }).collect();
        let (id, name) = self.name(of).await;
        Group { id, name, total, points }
    }

    /// The id of a group, and what people call it.
    async fn name(&self, of: Of) -> (Option<String>, String) {
        let directory = self.registry.directory();
        match of {
            Of::Account(None) => (None, "(nobody known)".to_owned()),
            Of::Account(Some(TenantIdOrd(id))) => {
                let id = TenantId(id);
                let tenant = self.registry.by_id(id).await.ok().flatten();
                let name = tenant.map(|tenant| tenant.username.to_string());
                (Some(id.to_string()), name.unwrap_or_else(|| "(gone)".to_owned()))
            }
            Of::Api(None) => (None, "(no published API)".to_owned()),
            Of::Api(Some(id)) => {
                let api = directory.api(id).map(|api| match &api.definition.version {
                    Some(version) => format!("{} {version}", api.definition.name),
                    None => api.definition.name.clone(),
                });
                (Some(id.to_string()), api.unwrap_or_else(|| "(gone)".to_owned()))
            }
            Of::Caller(Caller::Nobody) => (None, "(nobody in particular)".to_owned()),
            Of::Caller(Caller::Consumer(id)) => {
                let name = directory.consumer(id).map(|consumer| consumer.username.clone());
                (Some(id.to_string()), name.unwrap_or_else(|| "(gone)".to_owned()))
            }
            Of::Caller(Caller::Application(id)) => {
                let name = directory.application(id).map(|application| application.name.clone());
                (Some(id.to_string()), name.unwrap_or_else(|| "(gone)".to_owned()))
            }
            Of::Plan(None) => (None, "(no plan)".to_owned()),
            Of::Plan(Some(plan)) => (Some(plan.to_string()), plan.to_string()),
            Of::Rest => (None, REST.to_owned()),
        }
    }
}

fn bad(what: &str) -> Refusal {
    Refusal::BadInput(what.to_owned())
}

/// The first minute of a time and the last one.
fn minutes(span: Span) -> (u64, u64) {
    (span.from.0 / MINUTE_MS, (span.to.0 - 1) / MINUTE_MS)
}

fn account(id: TenantId) -> Of {
    Of::Account(Some(TenantIdOrd(id.0)))
}

/// The group of a key, unless it is of another API than the one that is asked for.
fn group_of(what: &What, id: TenantId, by: By, wanted: Option<ApiId>) -> Option<Of> {
    let What::Of { api, caller, plan } = what else {
        // Of which API it was nobody knows.
        let of = if by == By::Tenant { account(id) } else { Of::Rest };
        return wanted.is_none().then_some(of);
    };
    if wanted.is_some() && wanted != *api {
        return None;
    }
    Some(match by {
        By::Tenant => account(id),
        By::Api => Of::Api(*api),
        By::Application => Of::Caller(*caller),
        By::Plan => Of::Plan(plan.clone()),
    })
}

/// The largest groups, largest first, and one for the rest.
fn largest(lines: HashMap<Of, Line>, groups_max: usize) -> Vec<(Of, Line)> {
    let size = |line: &Line| -> u64 {
        let sizes = line.values().map(|sums| {
            let calls = sums.each().filter(|(measure, _)| measure.is_a_call());
            calls.map(|(_, count)| count).sum::<u64>().saturating_add(sums.messages())
        });
        sizes.fold(0, u64::saturating_add)
    };
    let mut rest: Option<Line> = None;
    let mut all: Vec<(u64, Of, Line)> = Vec::new();
    for (of, line) in lines {
        match of {
            Of::Rest => rest = Some(line),
            of => all.push((size(&line), of, line)),
        }
    }
    all.sort_by(|(one, whose, _), (other, others, _)| other.cmp(one).then(whose.cmp(others)));
    for (_, _, line) in all.drain(groups_max.min(all.len())..) {
        let rest = rest.get_or_insert_default();
        for (moment, sums) in line {
            rest.entry(moment).or_default().add_all(&sums);
        }
    }
    let all = all.into_iter().map(|(_, of, line)| (of, line));
    all.chain(rest.map(|rest| (Of::Rest, rest))).collect()
}
