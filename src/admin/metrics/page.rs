//! Families of series, written one after the other.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::metrics::Spans;

/// The labels of one series.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// What a family is called, and means. Its unit becomes part of its name.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
}

impl Family {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: None, help }
    }

    pub(super) const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: Some(Unit::Seconds), help }
    }

    pub(super) const fn bytes(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: Some(Unit::Bytes), help }
    }
}

/// A page of metrics.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Numbers that only rise.
    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        family: &Family,
        series: impl IntoIterator<Item = (Labels<'l, N>, impl EncodeCounterValue)>,
    ) -> fmt::Result {
        self.each(family, MetricType::Counter, series, |metric, value| {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    pub(super) fn counter(
        &mut self,
        family: &Family,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        self.counters(family, [([], value)])
    }

    /// Numbers as they are now.
    pub(super) fn gauges<'l, const N: usize>(
        &mut self,
        family: &Family,
        series: impl IntoIterator<Item = (Labels<'l, N>, impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        self.each(family, MetricType::Gauge, series, |metric, value| metric.encode_gauge(&value))
    }

    pub(super) fn gauge(&mut self, family: &Family, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(family, [([], value)])
    }

    /// How long things took.
    pub(super) fn histograms<'l, const N: usize>(
        &mut self,
        family: &Family,
        series: impl IntoIterator<Item = (Labels<'l, N>, Spans)>,
    ) -> fmt::Result {
        self.each(family, MetricType::Histogram, series, |metric, spans: Spans| {
            // The crate writes this bound as +Inf.
            let finite = |bound: f64| if bound.is_finite() { bound } else { f64::MAX };
            let buckets = spans.buckets.iter().map(|(bound, count)| (finite(*bound), *count));
            let buckets: Vec<_> = buckets.collect();
            metric.encode_histogram::<NoLabelSet>(spans.seconds, spans.count(), &buckets, None)
        })
    }

    pub(super) fn histogram(&mut self, family: &Family, spans: Spans) -> fmt::Result {
        self.histograms(family, [([], spans)])
    }

    /// What does not change.
    pub(super) fn info<const N: usize>(
        &mut self,
        family: &Family,
        labels: Labels<'_, N>,
    ) -> fmt::Result {
        let Family { name, help, .. } = family;
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    fn each<'l, const N: usize, V>(
        &mut self,
        Family { name, unit, help }: &Family,
        kind: MetricType,
        series: impl IntoIterator<Item = (Labels<'l, N>, V)>,
        put: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in series {
            match N {
                0 => put(&mut metric, value)?,
                _ => put(&mut metric.encode_family(&labels)?, value)?,
            }
        }
        Ok(())
    }
}
