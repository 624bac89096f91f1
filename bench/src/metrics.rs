//! An observer's metrics, as a scraper reads them.

use std::time::Duration;

use anyhow::{Context as _, bail};

/// Most bytes of a scrape.
const LIMIT: u64 = 1 << 30;

/// The text of one scrape.
pub(crate) struct Metrics(String);

impl Metrics {
    /// Asks the observer that serves `http`, an address with a port.
    pub(crate) fn scrape(http: &str) -> anyhow::Result<Self> {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build();
        let agent: ureq::Agent = config.into();
        let url = format!("http://{http}/metrics");
        let mut answer = agent.get(&url).call().with_context(|| url.clone())?;
        Ok(Self(answer.body_mut().with_config().limit(LIMIT).read_to_string().context(url)?))
    }

    /// How many bytes it has.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// How many series of that name it has.
    pub(crate) fn series(&self, name: &str) -> u64 {
        self.samples(name).count() as u64
    }

    /// The value of a series without labels.
    pub(crate) fn gauge(&self, name: &str) -> anyhow::Result<f64> {
        let found = self.samples(name).find(|(labels, _)| labels.is_empty());
        found.map(|(_, value)| value).with_context(|| format!("the observer has no metric {name}"))
    }

    /// The value of the one series of that name whose labels hold `label`.
    pub(crate) fn labelled(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let found = self.samples(name).find(|(labels, _)| labels.contains(label));
        found.map(|(_, value)| value).with_context(|| format!("the observer has no metric {name} with {label}"))
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(name)?;
            let whole = labels.is_empty() || labels.starts_with('{');
            Some((labels, value.parse().ok()?)).filter(|_| whole)
        })
    }

    /// The sum over all series of a counter.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole and not negative")]
    pub(crate) fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let mut samples = self.samples(name).peekable();
        if samples.peek().is_none() {
            bail!("the observer has no metric {name}");
        }
        Ok(samples.map(|(_, value)| value as u64).sum())
    }

    /// A histogram: upper bounds in seconds as they are written, with how many are at or below each.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and not negative")]
    pub(crate) fn histogram(&self, name: &str) -> anyhow::Result<Vec<(f64, u64)>> {
        let name = format!("{name}_bucket");
        let bound = |labels: &str| {
            let text = labels.split("le=\"").nth(1)?.split('"').next()?;
            if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
        };
        let buckets: Vec<_> =
            self.samples(&name).filter_map(|(labels, value)| Some((bound(labels)?, value as u64))).collect();
        if buckets.is_empty() {
            bail!("the observer has no histogram {name}");
        }
        Ok(buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_histograms_keep_their_bounds() {
        let text = "# HELP a A.\n# TYPE a counter\na{l=\"1\"} 3\na{l=\"2\"} 4\nab 9\nh_bucket{le=\"0.5\"} 2\nh_bucket{le=\"+Inf\"} 5\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.counter("a").unwrap(), 7);
        assert_eq!(metrics.counter("ab").unwrap(), 9);
        assert!(metrics.counter("b").is_err());
        assert_eq!(metrics.histogram("h").unwrap(), [(0.5, 2), (f64::INFINITY, 5)]);
        assert!(metrics.histogram("a").is_err());
    }
}
