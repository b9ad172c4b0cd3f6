//! A report as text, for people.

use std::fmt::{self, Write as _};

use super::{Content, Report, SuperblockReport, Verdict};
use crate::meta::Severity;

impl Report {
    /// As text, for `meta dump`.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        self.write_dump(&mut text)
            .expect("a string takes everything");
        text
    }

    /// As text, for `meta check`.
    #[must_use]
    pub fn check(&self) -> String {
        let mut text = String::new();
        self.write_check(&mut text)
            .expect("a string takes everything");
        text
    }

    fn write_dump(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "store {}, {} bytes", self.path, self.bytes)?;
        self.write_in_use(out)?;
        for superblock in &self.superblocks {
            superblock.write(out)?;
        }
        if let Some(content) = &self.content {
            content.write(out)?;
        }
        self.write_findings(out)
    }

    fn write_check(&self, out: &mut String) -> fmt::Result {
        self.write_in_use(out)?;
        self.write_findings(out)?;
        let verdict = match self.verdict {
            Verdict::Clean => "clean",
            Verdict::Suspicious => "suspicious, but nothing is lost",
            Verdict::Damaged => "damaged",
        };
        writeln!(out, "store {}: {verdict}", self.path)
    }

    fn write_in_use(&self, out: &mut String) -> fmt::Result {
        if self.in_use {
            writeln!(
                out,
                "in use by a running process: what follows may change while it is read"
            )?;
        }
        Ok(())
    }

    fn write_findings(&self, out: &mut String) -> fmt::Result {
        if let Some(refused) = &self.refused {
            writeln!(out, "refused: {refused}")?;
        }
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Suspicious => "suspicious",
                Severity::Damaged => "damaged",
            };
            writeln!(out, "{severity}, {finding}")?;
        }
        Ok(())
    }
}

impl SuperblockReport {
    fn write(&self, out: &mut String) -> fmt::Result {
        match (&self.content, &self.fault) {
            (Some(content), _) => {
                writeln!(
                    out,
                    "superblock at {}: generation {}, term {}",
                    self.offset, content.generation, content.term
                )?;
                writeln!(
                    out,
                    "  cluster {}  volume {}",
                    content.cluster, content.volume
                )?;
                writeln!(out, "  store   {}  node {}", content.store, content.node)?;
                writeln!(
                    out,
                    "  volume of {} bytes (room for {}), data at {}",
                    content.size, content.size_max, content.data
                )?;
                if let Some(errno) = content.failed {
                    writeln!(out, "  failed with error {errno}")?;
                }
                for (slot, node, since) in &content.dirty {
                    writeln!(
                        out,
                        "  dirty bitmap {slot}: node {node}, absent since entry {since}"
                    )?;
                }
                Ok(())
            }
            (None, fault) => writeln!(
                out,
                "superblock at {}: {}",
                self.offset,
                fault.as_deref().unwrap_or("not there")
            ),
        }
    }
}

impl Content {
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "in force: superblock generation {}, term {}",
            self.generation, self.term
        )?;
        writeln!(
            out,
            "intent ring: record {}, sequence number {}, {} of {} slots active",
            self.record,
            self.seq,
            self.active.len(),
            self.slots
        )?;
        for (slot, region) in &self.active {
            writeln!(out, "  slot {slot}: region {region}")?;
        }
        writeln!(out, "written: {} of {} regions", self.written, self.regions)?;
        for (first, regions) in &self.written_runs {
            writeln!(out, "  {regions} from region {first}")?;
        }
        for dirty in &self.dirty {
            writeln!(
                out,
                "dirty bitmap {}: node {} misses {} of {} blocks since entry {}",
                dirty.slot, dirty.node, dirty.blocks, self.blocks, dirty.since
            )?;
        }
        Ok(())
    }
}
