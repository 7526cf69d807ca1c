//! `vocalbridge replay`: rebuild projections from the log beside the live ones, compare, and swap if asked to.

use anyhow::{Result, bail};
use projections::Projection;
use projections::rebuild::{self, Options, Report};

use crate::source::LogSource;
use crate::system::System;

/// Rebuilds `names` (all when empty) and answers what differed.
pub async fn replay(system: &System, names: &[String], swap: bool) -> Result<Vec<Report>> {
    let mut projections = Vec::new();
    for name in names {
        match Projection::from_name(name) {
            Some(projection) => projections.push(projection),
            None => {
                let known: Vec<&str> = Projection::ALL.iter().map(|projection| projection.name()).collect();
                bail!("no projection {name:?}; there are {}", known.join(", "));
            }
        }
    }
    if projections.is_empty() {
        projections.extend(Projection::ALL);
    }
    let source = LogSource(system.nats.log.clone());
    let reports = rebuild::rebuild(&system.database, &source, &projections, Options { swap }, |_| {}).await?;
    Ok(reports)
}

/// The reports as the command prints them.
pub fn render(reports: &[Report], json: bool) -> Result<String> {
    if json {
        return Ok(serde_json::to_string_pretty(reports)?);
    }
    let mut text = String::new();
    for report in reports {
        let rate = report.events as f64 / report.seconds.max(0.001);
        text.push_str(&format!(
            "{:<16} {:>9} events in {:>7.2} s ({rate:.0}/s): {}\n",
            report.projection,
            report.events,
            report.seconds,
            if report.differences.is_empty() {
                "equal".to_owned()
            } else {
                format!("{} rows differ", report.differing_rows)
            }
        ));
        for difference in &report.differences {
            text.push_str(&format!("  {}\n", serde_json::to_string(difference)?));
        }
    }
    Ok(text)
}
