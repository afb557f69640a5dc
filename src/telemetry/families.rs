//! Metrics whose labels are from closed sets. Their series exist from the start, at 0, so that rates are right
//! from the first event on.

use std::marker::PhantomData;

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use crate::telemetry::labels::Labels;

/// A metric by its labels.
#[derive(Debug)]
pub struct Family<L, V> {
    series: V,
    labels: PhantomData<L>,
}

/// Counters by their labels.
pub(super) type Counters<L> = Family<L, IntCounterVec>;
/// Gauges by their labels.
pub(super) type Gauges<L> = Family<L, IntGaugeVec>;
/// Histograms by their labels.
pub(super) type Histograms<L> = Family<L, HistogramVec>;

impl<L: Labels, B: MetricVecBuilder> Family<L, MetricVec<B>> {
    /// The series with these labels.
    #[must_use]
    pub fn of(&self, labels: L) -> B::M {
        self.series.with_label_values(labels.words().as_ref())
    }
}

/// Makes every series.
impl<L: Labels, B: MetricVecBuilder> From<MetricVec<B>> for Family<L, MetricVec<B>> {
    fn from(series: MetricVec<B>) -> Self {
        let family = Self { series, labels: PhantomData };
        for labels in L::all() {
            let _at_0 = family.of(labels);
        }
        family
    }
}
