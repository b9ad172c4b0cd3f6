//! fio's nbd engine as the client.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Fault;
use crate::case::Case;
use crate::size::Size;

/// What one run of fio saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Requests answered.
    pub requests: u64,
    /// Requests a second.
    pub iops: f64,
    /// MiB a second.
    pub mib_s: f64,
    /// Median time from sending to the answer, microseconds.
    pub p50_us: f64,
    /// The time that one request in a hundred exceeds, microseconds.
    pub p99_us: f64,
}

/// Writes the whole volume once.
pub fn fill(uri: &str, size: Size) -> Result<(), Fault> {
    fio(uri, "write", 1 << 20, 8, size, &[]).map(drop)
}

/// Runs a case for `seconds`.
pub fn run(uri: &str, case: &Case, size: Size, seconds: u32) -> Result<Speed, Fault> {
    let time = ["--time_based".to_owned(), format!("--runtime={seconds}")];
    fio(uri, case.pattern, case.block, case.depth, size, &time)
}

fn fio(
    uri: &str,
    pattern: &str,
    block: u64,
    depth: u32,
    size: Size,
    more: &[String],
) -> Result<Speed, Fault> {
    // Latency from sending (`lat`), not from after it (`clat`): the engine sends while queueing.
    let output = Command::new("fio")
        .args([
            "--name=bench",
            "--ioengine=nbd",
            "--thread",
            "--norandommap",
            "--randrepeat=0",
        ])
        .args([
            "--lat_percentiles=1",
            "--clat_percentiles=0",
            "--output-format=json",
        ])
        .arg(format!("--uri={uri}"))
        .arg(format!("--rw={pattern}"))
        .arg(format!("--bs={block}"))
        .arg(format!("--iodepth={depth}"))
        .arg(format!("--size={}", size.bytes()))
        .args(more)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("fio: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("fio failed: {} {}", errors.trim(), text.trim()));
    }
    parse(&text).ok_or_else(|| format!("fio's answer makes no sense: {text}"))
}

/// Takes the only job's only direction. The engine prints a line of its own before the JSON.
fn parse(text: &str) -> Option<Speed> {
    let json: Value = serde_json::from_str(&text[text.find('{')?..]).ok()?;
    let job = &json["jobs"][0];
    let total = |direction: &str| job[direction]["total_ios"].as_u64();
    let side = if total("read")? > 0 {
        &job["read"]
    } else {
        &job["write"]
    };
    let requests = side["total_ios"]
        .as_u64()
        .filter(|requests| *requests > 0)?;
    let micros = |percentile: &str| Some(side["lat_ns"]["percentile"][percentile].as_f64()? / 1e3);
    Some(Speed {
        requests,
        iops: side["iops"].as_f64()?,
        mib_s: side["bw_bytes"].as_f64()? / f64::from(1 << 20),
        p50_us: micros("50.000000")?,
        p99_us: micros("99.000000")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_fio() {
        let text = r#"fio: connected to NBD server
            {"jobs": [{"read": {"total_ios": 0},
            "write": {"total_ios": 600, "iops": 100.5, "bw_bytes": 1048576,
            "lat_ns": {"percentile": {"50.000000": 55000, "99.000000": 122000}}}}]}"#;
        let speed = Speed {
            requests: 600,
            iops: 100.5,
            mib_s: 1.0,
            p50_us: 55.0,
            p99_us: 122.0,
        };
        assert_eq!(parse(text), Some(speed));
        assert_eq!(parse("fio: no server"), None);
        assert_eq!(parse(r#"{"jobs": []}"#), None);
        let nothing = r#"{"jobs": [{"read": {"total_ios": 0}, "write": {"total_ios": 0}}]}"#;
        assert_eq!(parse(nothing), None);
    }
}
