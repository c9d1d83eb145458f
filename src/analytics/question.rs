//! What somebody wants to know: which time, in which steps, by what.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::UnixMillis;
use crate::registry::analytics::{MINUTES_KEPT_DAYS, Unit};
use crate::registry::profiles::keys::read_moment;

/// Steps of a report.
pub const STEPS_MAX: u64 = 1500;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// As much as is shown when nothing is said.
const USUAL_MS: u64 = DAY_MS;

/// What numbers are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AnalyticsBy)]
pub enum By {
    /// By tenant; for a tenant, all of theirs together.
    #[default]
    Tenant,
    /// By published API.
    Api,
    /// By who called: an application, or a consumer.
    Application,
    /// By plan.
    Plan,
}

impl By {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Tenant, Self::Api, Self::Application, Self::Plan];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Api => "api",
            Self::Application => "application",
            Self::Plan => "plan",
        }
    }
}

/// How long the time is that numbers are told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AnalyticsStep)]
pub enum Step {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day of UTC.
    Day,
}

impl Step {
    /// In milliseconds.
    #[must_use]
    pub fn ms(self) -> u64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// What is read for it.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Minute => Unit::Minute,
            Self::Hour | Self::Day => Unit::Hour,
        }
    }

    fn usual(span_ms: u64) -> Self {
        match span_ms {
            ms if ms <= 3 * HOUR_MS => Self::Minute,
            ms if ms <= 7 * DAY_MS => Self::Hour,
            _ => Self::Day,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// From when on, as in `2026-11-20T12:00:00Z`.
    #[param(example = "2026-11-20T12:00:00Z")]
    pub from: Option<String>,
    /// Up to when; up to now if nothing is said.
    #[param(example = "2026-11-20T13:00:00Z")]
    pub to: Option<String>,
    /// In place of `from`: so much before `to`, as in `1h` or `30days`. A day if nothing is said.
    #[param(example = "24h")]
    pub last: Option<String>,
    /// `minute`, `hour` or `day`; what suits the time if nothing is said. Minutes are kept for a week.
    pub step: Option<Step>,
    /// `tenant`, `api`, `application` or `plan`.
    pub by: Option<By>,
    /// Only this published API, by its id.
    #[param(min_length = 16, max_length = 16)]
    pub api: Option<String>,
    /// `json` or `csv`; what `Accept` says if nothing is said.
    #[param(inline)]
    pub format: Option<Format>,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AnalyticsFormat)]
pub enum Format {
    /// As JSON.
    Json,
    /// As CSV (RFC 4180).
    Csv,
}

/// A time in steps. The first moment of each is a multiple of the step from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub from: UnixMillis,
    /// The first moment behind it.
    pub to: UnixMillis,
    /// How long each step is.
    pub step: Step,
}

impl Span {
    /// How many steps it has.
    #[must_use]
    pub fn steps(&self) -> u64 {
        (self.to.0 - self.from.0) / self.step.ms()
    }
}

impl Question {
    /// The time that is asked for, in whole steps.
    ///
    /// # Errors
    /// What is wrong with it, as a whole sentence.
    pub fn span(&self, now: UnixMillis) -> Result<Span, String> {
        let moment = |name: &str, text: &str| {
            read_moment(text)
                .ok_or_else(|| format!("{name} must be a moment like 2026-11-20T12:00:00Z."))
        };
        let to = match &self.to {
            Some(text) => moment("to", text)?,
            None => now,
        };
        let from = match (&self.from, &self.last) {
            (Some(_), Some(_)) => return Err("Give from or last.".to_owned()),
            (Some(text), None) => moment("from", text)?,
            (None, Some(text)) => {
                let span: Option<humantime::Duration> = text.parse().ok();
                let span = span.ok_or("last must be a time like 1h or 30days.")?;
                to.minus(span.into())
            }
            (None, None) => to.minus(Duration::from_millis(USUAL_MS)),
        };
        if from >= to {
            return Err("from must be before to.".to_owned());
        }
        let step = self.step.unwrap_or_else(|| Step::usual(to.0 - from.0));
        let (from, to) =
            (from.0 - from.0 % step.ms(), to.0.div_ceil(step.ms()).saturating_mul(step.ms()));
        if (to - from) / step.ms() > STEPS_MAX {
            return Err(format!(
                "That is more than {STEPS_MAX} steps: ask for less, or for longer steps."
            ));
        }
        let minutes_from = now.0.saturating_sub(u64::from(MINUTES_KEPT_DAYS) * DAY_MS);
        if step == Step::Minute && from + MINUTE_MS < minutes_from {
            return Err("Minutes are kept for 7 days: ask for hours or days.".to_owned());
        }
        Ok(Span { from: UnixMillis(from), to: UnixMillis(to), step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn asked(
        from: &str,
        to: &str,
        last: &str,
        step: Option<Step>,
    ) -> Result<(String, String, Step), String> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let question = Question {
            from: some(from),
            to: some(to),
            last: some(last),
            step,
            ..Question::default()
        };
        let Span { from, to, step } = question.span(NOW)?;
        Ok((from.to_string(), to.to_string(), step))
    }

    #[test]
    fn a_time_is_made_of_whole_steps() {
        let is = |from: &str, to: &str, step| Ok((from.to_owned(), to.to_owned(), step));
        assert_eq!(NOW.to_string(), "2026-09-21T14:13:20Z");
        assert_eq!(
            asked("", "", "", None),
            is("2026-09-20T14:00:00Z", "2026-09-21T15:00:00Z", Step::Hour)
        );
        assert_eq!(
            asked("", "", "1h", None),
            is("2026-09-21T13:13:00Z", "2026-09-21T14:14:00Z", Step::Minute)
        );
        assert_eq!(
            asked("", "", "30days", None),
            is("2026-08-22T00:00:00Z", "2026-09-22T00:00:00Z", Step::Day)
        );
        let (from, to) = ("2026-09-21T12:00:00Z", "2026-09-21T13:00:00Z");
        assert_eq!(asked(from, to, "", None), is(from, to, Step::Minute));
        assert_eq!(asked(from, to, "", Some(Step::Hour)), is(from, to, Step::Hour));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let noon = "2026-09-21T12:00:00Z";
        for (from, to, last, step) in [
            (noon, noon, "", None),
            (noon, "2026-09-21T11:00:00Z", "", None),
            (noon, "", "1h", None),
            ("yesterday", "", "", None),
            ("", "tomorrow", "", None),
            ("", "", "much", None),
            ("", "", "0s", None),
            ("", "", "26h", Some(Step::Minute)),
            ("", "", "100days", Some(Step::Hour)),
            ("2026-09-14T13:00:00Z", "2026-09-14T15:00:00Z", "", Some(Step::Minute)),
            ("1970-01-01T00:00:00Z", "", "", None),
        ] {
            assert!(asked(from, to, last, step).is_err(), "{from} {to} {last} {step:?}");
        }
        assert!(asked("", "", "24h", Some(Step::Minute)).is_ok(), "at the limit");
        let last_minutes = ("2026-09-14T14:13:00Z", "2026-09-14T15:00:00Z");
        assert!(asked(last_minutes.0, last_minutes.1, "", Some(Step::Minute)).is_ok());
    }
}
