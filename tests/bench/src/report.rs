//! The table.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::case::Case;
use crate::fio::Speed;
use crate::size::Size;
use crate::system::System;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// What the client saw.
    pub speed: Speed,
    /// CPU time of all serving processes.
    pub cpu_seconds: f64,
}

impl Sample {
    /// CPU seconds for each 100 000 requests.
    fn cpu(&self) -> f64 {
        self.cpu_seconds * 1e5 / self.speed.requests as f64
    }
}

/// All measurements of one system in one case.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    case: Case,
    system: System,
    samples: Vec<Sample>,
}

impl Series {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        }
    }

    fn throughput(&self) -> f64 {
        let sequential = self.case.is_sequential();
        self.median(|sample| {
            if sequential {
                sample.speed.mib_s
            } else {
                sample.speed.iops
            }
        })
    }

    fn p50(&self) -> f64 {
        self.median(|sample| sample.speed.p50_us)
    }

    fn p99(&self) -> f64 {
        self.median(|sample| sample.speed.p99_us)
    }

    fn cpu(&self) -> f64 {
        self.median(Sample::cpu)
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    size: Size,
    seconds: u32,
    series: Vec<Series>,
}

impl Report {
    /// Without measurements.
    pub fn new(size: Size, seconds: u32) -> Self {
        Self {
            size,
            seconds,
            series: Vec::new(),
        }
    }

    /// Adds one measurement.
    pub fn add(&mut self, case: &Case, system: System, sample: Sample) {
        let known = self
            .series
            .iter_mut()
            .find(|s| s.case == *case && s.system == system);
        match known {
            Some(series) => series.samples.push(sample),
            None => self.series.push(Series {
                case: *case,
                system,
                samples: vec![sample],
            }),
        }
    }

    /// By case, in the order in which the systems are listed.
    fn sorted(&self) -> Vec<&Series> {
        let mut cases: Vec<Case> = Vec::new();
        for series in &self.series {
            if !cases.contains(&series.case) {
                cases.push(series.case);
            }
        }
        let mut sorted: Vec<&Series> = self.series.iter().collect();
        let place = |case: &Case| cases.iter().position(|known| known == case);
        sorted.sort_by_key(|series| (place(&series.case), series.system));
        sorted
    }

    /// The same case of the system that one of ours is compared with.
    fn peer(&self, of: &Series) -> Option<&Series> {
        let peer = of.system.peer()?;
        self.series
            .iter()
            .find(|series| series.case == of.case && series.system == peer)
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "case",
            "system",
            "throughput",
            "p50 us",
            "p99 us",
            "CPU s/100k",
            "throughput ratio",
            "p50 ratio",
            "CPU ratio",
        ]);
        for series in self.sorted() {
            let unit = if series.case.is_sequential() {
                "MiB/s"
            } else {
                "IOPS"
            };
            let mut row = vec![
                series.case.name.to_owned(),
                series.system.name().to_owned(),
                format!("{:.0} {unit}", series.throughput()),
                format!("{:.0}", series.p50()),
                format!("{:.0}", series.p99()),
                format!("{:.2}", series.cpu()),
            ];
            if let Some(peer) = self.peer(series) {
                row.push(format!("{:.2}", series.throughput() / peer.throughput()));
                row.push(format!("{:.2}", series.p50() / peer.p50()));
                row.push(format!("{:.2}", series.cpu() / peer.cpu()));
            }
            table.add_row(row.into_iter().enumerate().map(|(column, text)| {
                let numbers = column >= 2;
                let alignment = if numbers {
                    CellAlignment::Right
                } else {
                    CellAlignment::Left
                };
                Cell::new(text).set_alignment(alignment)
            }));
        }
        let repeats = self
            .series
            .iter()
            .map(|series| series.samples.len())
            .max()
            .unwrap_or(0);
        format!(
            "{table}\n\nMedians of {repeats} alternating runs of {} s on volumes of {}. Ratios: ours-1 to \
             qemu-nbd, ours-2 to quorum. CPU: all serving processes of a system, its standby, \
             witness and supervisor included.",
            self.seconds,
            self.size.argument()
        )
    }

    /// For programs, with every single measurement.
    pub fn json(&self) -> Value {
        let results: Vec<Value> = self
            .sorted()
            .into_iter()
            .map(|series| {
                let peer = self.peer(series);
                let ratio = |of: fn(&Series) -> f64| peer.map(|peer| of(series) / of(peer));
                let samples: Vec<Value> = series.samples.iter().map(sample_json).collect();
                json!({
                    "case": series.case.name,
                    "system": series.system.name(),
                    "iops": series.median(|sample| sample.speed.iops),
                    "mib_s": series.median(|sample| sample.speed.mib_s),
                    "p50_us": series.p50(),
                    "p99_us": series.p99(),
                    "cpu_seconds_per_100k": series.cpu(),
                    "peer": series.system.peer().map(System::name),
                    "throughput_ratio": ratio(Series::throughput),
                    "p50_ratio": ratio(Series::p50),
                    "cpu_ratio": ratio(Series::cpu),
                    "samples": samples,
                })
            })
            .collect();
        json!({
            "size_bytes": self.size.bytes(),
            "runtime_seconds": self.seconds,
            "results": results,
        })
    }
}

fn sample_json(sample: &Sample) -> Value {
    json!({
        "iops": sample.speed.iops,
        "mib_s": sample.speed.mib_s,
        "p50_us": sample.speed.p50_us,
        "p99_us": sample.speed.p99_us,
        "requests": sample.speed.requests,
        "cpu_seconds": sample.cpu_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::CASES;

    fn sample(iops: f64) -> Sample {
        let speed = Speed {
            requests: 50_000,
            iops,
            mib_s: 1.0,
            p50_us: 55.0,
            p99_us: 99.0,
        };
        Sample {
            speed,
            cpu_seconds: 1.0,
        }
    }

    #[test]
    fn medians_and_ratios() {
        let size = "2GiB".parse().expect("a size");
        let mut report = Report::new(size, 6);
        for (ours, peer) in [(300.0, 100.0), (900.0, 50.0), (200.0, 400.0)] {
            report.add(&CASES[1], System::OursTwo, sample(ours));
            report.add(&CASES[1], System::Quorum, sample(peer));
        }
        let json = report.json();
        assert_eq!(json["results"][0]["system"], "quorum");
        assert_eq!(json["results"][1]["iops"], 300.0);
        assert_eq!(json["results"][1]["throughput_ratio"], 3.0);
        assert_eq!(json["results"][1]["cpu_seconds_per_100k"], 2.0);
        assert_eq!(json["results"][0]["throughput_ratio"], Value::Null);
        let table = report.table();
        assert!(
            table.contains("| 300 IOPS |") || table.contains(" 300 IOPS "),
            "{table}"
        );
        assert!(table.contains("3.00"), "{table}");
    }

    #[test]
    fn the_median_of_two_lies_between() {
        let size = "2GiB".parse().expect("a size");
        let mut report = Report::new(size, 6);
        report.add(&CASES[0], System::QemuNbd, sample(100.0));
        report.add(&CASES[0], System::QemuNbd, sample(200.0));
        assert_eq!(report.json()["results"][0]["iops"], 150.0);
    }
}
