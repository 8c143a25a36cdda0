//! Metrics as text: the format of Prometheus, and OpenMetrics 1.0. Pure.

use std::fmt::{Display, Write};

use super::value::{Counter, Family, Gauge, Histogram, Labelled};

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that a request with this `Accept` header gets: OpenMetrics where it is named and not refused.
    pub fn accepted(accept: &str) -> Format {
        let wants = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            is_named && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
        };
        if accept.split(',').any(wants) { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text of several metrics, in the order in which they are added.
pub struct Text {
    format: Format,
    out: String,
}

impl Text {
    /// Without metrics.
    pub fn new(format: Format) -> Text {
        Text { format, out: String::new() }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out += "# EOF\n";
        }
        self.out
    }

    /// A counter. `name` ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A gauge with a value; nothing if it has none.
    pub fn gauge(&mut self, name: &str, help: &str, gauge: &Gauge) {
        if let Some(value) = gauge.get() {
            self.number(name, help, value);
        }
    }

    /// A gauge that is kept elsewhere.
    pub fn number(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// Gauges that differ in their labels. Nothing if there are none.
    pub fn gauges(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], i64)]) {
        if !samples.is_empty() {
            self.head(name, "gauge", help);
        }
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    /// Gauges that are read together, by the names of their labels.
    pub fn labelled(&mut self, name: &str, help: &str, names: &[&str], gauges: &Labelled) {
        let values = gauges.get();
        let labels: Vec<(Vec<(&str, &str)>, i64)> = values
            .iter()
            .map(|(labels, value)| (names.iter().copied().zip(labels.iter().map(String::as_str)).collect(), *value))
            .collect();
        let samples: Vec<(&[(&str, &str)], i64)> = labels.iter().map(|(labels, value)| (&labels[..], *value)).collect();
        self.gauges(name, help, &samples);
    }

    /// Counters that differ in one label. `name` ends in `_total`.
    pub fn counters(&mut self, name: &str, help: &str, label: &str, samples: &[(&str, u64)]) {
        self.head(name, "counter", help);
        for (value, count) in samples {
            self.sample(name, &[(label, value)], count);
        }
    }

    /// A family of counters. `name` ends in `_total`.
    pub fn counter_family(&mut self, name: &str, help: &str, family: &Family<Counter>) {
        let members = family.members();
        let samples: Vec<(&str, u64)> = members.iter().map(|(value, counter)| (&**value, counter.get())).collect();
        self.counters(name, help, family.label, &samples);
    }

    /// A histogram.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        self.ranges(name, None, histogram);
    }

    /// A family of histograms.
    pub fn histogram_family(&mut self, name: &str, help: &str, family: &Family<Histogram>) {
        self.head(name, "histogram", help);
        for (value, histogram) in family.members() {
            self.ranges(name, Some((family.label, &value)), &histogram);
        }
    }

    fn ranges(&mut self, name: &str, label: Option<(&str, &str)>, histogram: &Histogram) {
        let (ranges, sum) = histogram.cumulative();
        let total = ranges.last().map_or(0, |(_, count)| *count);
        let labels: Vec<(&str, &str)> = label.into_iter().collect();
        for (bound, count) in ranges {
            // As `1.0`: OpenMetrics wants a bound to look like a floating-point number.
            let bound = bound.map_or_else(|| "+Inf".to_string(), |bound| format!("{bound:?}"));
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labels, count);
        }
        self.sample(&format!("{name}_sum"), &labels, sum);
        self.sample(&format!("{name}_count"), &labels, total);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let name = match self.format {
            Format::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out += name;
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.out += "\\\\",
                    '"' => self.out += "\\\"",
                    '\n' => self.out += "\\n",
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn openmetrics_is_sent_where_it_is_accepted() {
        for (accept, expected) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", Format::OpenMetrics),
            ("text/plain;q=0.5, Application/OpenMetrics-Text; version=1.0.0; q=0.8", Format::OpenMetrics),
            ("application/openmetrics-text; q=0", Format::Prometheus),
            ("application/openmetrics-text2", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }

    fn sample(format: Format) -> String {
        let mut text = Text::new(format);
        text.counter("a_total", "As.", 3);
        text.gauge("b", "A b.", &Gauge::unknown());
        text.gauges("c", "Cs.", &[(&[("x", "1"), ("y", "q\"\\\n")], -4)]);
        let family = Family::new("type", || Histogram::new(&[500_000, 2_000_000]));
        family.with("shop").observe(Duration::from_millis(1_500));
        text.histogram_family("d_seconds", "Ds.", &family);
        text.finish()
    }

    #[test]
    fn both_formats_name_each_metric_and_escape_labels() {
        let histogram = "# HELP d_seconds Ds.\n# TYPE d_seconds histogram\n\
                         d_seconds_bucket{type=\"shop\",le=\"0.5\"} 0\nd_seconds_bucket{type=\"shop\",le=\"2.0\"} 1\n\
                         d_seconds_bucket{type=\"shop\",le=\"+Inf\"} 1\nd_seconds_sum{type=\"shop\"} 1.5\n\
                         d_seconds_count{type=\"shop\"} 1\n";
        let gauges = "# HELP c Cs.\n# TYPE c gauge\nc{x=\"1\",y=\"q\\\"\\\\\\n\"} -4\n";
        let counter = "# HELP a_total As.\n# TYPE a_total counter\na_total 3\n";
        assert_eq!(sample(Format::Prometheus), format!("{counter}{gauges}{histogram}"));
        let counter = "# HELP a As.\n# TYPE a counter\na_total 3\n";
        assert_eq!(sample(Format::OpenMetrics), format!("{counter}{gauges}{histogram}# EOF\n"));
    }
}
