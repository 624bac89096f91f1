//! The fixed metric families of one scrape, in the Prometheus text format.

use prometheus::{
    Encoder as _, TextEncoder,
    core::Collector,
    proto::{Bucket, Histogram, Metric, MetricFamily, MetricType},
};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metric families of one scrape.
#[derive(Debug, Default)]
pub struct Families(Vec<MetricFamily>);

/// What adding a family may end with: a name or label of bad form, which would be our own error.
pub type Outcome = Result<(), prometheus::Error>;

impl Families {
    /// Takes over a collector's families, ordered by their labels; one without series has no text form.
    pub fn collect(&mut self, collector: &impl Collector) {
        let values =
            |metric: &Metric| metric.get_label().iter().map(|label| label.value().to_owned()).collect::<Vec<_>>();
        for mut family in collector.collect() {
            family.mut_metric().sort_by_cached_key(values);
            if !family.get_metric().is_empty() {
                self.0.push(family);
            }
        }
    }

    /// A counter.
    ///
    /// # Errors
    /// A name of bad form.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> Outcome {
        let counter = prometheus::IntCounter::new(name, help)?;
        counter.inc_by(value);
        self.collect(&counter);
        Ok(())
    }

    /// A gauge.
    ///
    /// # Errors
    /// A name of bad form.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> Outcome {
        let gauge = prometheus::IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.collect(&gauge);
        Ok(())
    }

    /// A counter by labels. Values of equal labels add up.
    ///
    /// # Errors
    /// A name of bad form.
    pub fn counters<'a, const N: usize>(
        &mut self,
        (name, help): (&str, &str),
        labels: [&str; N],
        values: impl IntoIterator<Item = ([&'a str; N], u64)>,
    ) -> Outcome {
        let counters = prometheus::IntCounterVec::new(prometheus::Opts::new(name, help), &labels)?;
        for (labels, value) in values {
            counters.get_metric_with_label_values(&labels)?.inc_by(value);
        }
        self.collect(&counters);
        Ok(())
    }

    /// A gauge by one label. Values of equal labels add up.
    ///
    /// # Errors
    /// A name of bad form.
    pub fn gauges<'a>(
        &mut self,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Outcome {
        let gauges = prometheus::IntGaugeVec::new(prometheus::Opts::new(name, help), &[label])?;
        for (label, value) in values {
            gauges.get_metric_with_label_values(&[label])?.add(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.collect(&gauges);
        Ok(())
    }

    /// A histogram that was counted elsewhere: `bounds` in seconds, `counts` one more than there are bounds.
    #[expect(clippy::cast_precision_loss, reason = "2^53 nanoseconds are 104 days of lateness")]
    pub fn histogram(&mut self, (name, help): (&str, &str), bounds: &[f64], counts: &[u64], sum_ns: u64) {
        let mut cumulative = 0;
        let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum_ns as f64 / 1e9);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.mut_metric().push(metric);
        self.0.push(family);
    }

    /// Adds their text to `out`.
    ///
    /// # Errors
    /// A family is not of legal form.
    pub fn render(&self, out: &mut Vec<u8>) -> Outcome {
        TextEncoder::new().encode(&self.0, out)
    }
}
