//! Devices on a command line: which are meant, whether they work, and what there is to choose from.

use std::{collections::HashSet, fmt, path::Path, str::FromStr};

use futures::future::try_join_all;
use serde::Serialize;

use super::processors;
use crate::{
    causes::with_causes,
    client::DeviceSlots,
    device::{Backend, DeviceName, UnknownDevice},
    device_probe::{self, DeviceReport, MEASURED, ProbeError},
};

/// Slots of a device at most.
const MOST_SLOTS: u32 = 1024;

/// A device as a person names it: `NAME` or `NAME=SLOTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceArgument {
    /// Which.
    pub device: DeviceName,
    /// Its own number of slots.
    pub slots: Option<u32>,
}

/// Not a device, or not a number of slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDevice {
    /// Another name.
    #[error(transparent)]
    Unknown(#[from] UnknownDevice),
    /// Another number.
    #[error("{found:?} is not a number of slots (expected 1 to {MOST_SLOTS}, as in {device}=2)")]
    Slots {
        /// What follows the equals sign.
        found: String,
        /// What precedes it.
        device: DeviceName,
    },
}

impl FromStr for DeviceArgument {
    type Err = InvalidDevice;

    fn from_str(text: &str) -> Result<Self, InvalidDevice> {
        let Some((name, slots)) = text.split_once('=') else {
            return Ok(Self { device: text.parse()?, slots: None });
        };
        let device = name.parse()?;
        match slots.parse() {
            Ok(number @ 1..=MOST_SLOTS) => Ok(Self { device, slots: Some(number) }),
            _ => Err(InvalidDevice::Slots { found: slots.chars().take(80).collect(), device }),
        }
    }
}

/// Why it cannot be trained where it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Named again.
    #[error("--device names {0} twice: use {0}=N to give it N slots")]
    Twice(DeviceName),
    /// It does not work.
    #[error(transparent)]
    Unusable(#[from] ProbeError),
}

/// The devices that were asked for, each of which works: with slots of their own, or else `slots`, or else as many as it has
/// processors, and one on anything else. `program` has the verb `probe`.
///
/// # Errors
/// If a device is named twice, is not in this build or this machine, or does not work.
pub async fn usable(
    program: &Path,
    wanted: &[DeviceArgument],
    slots: Option<u32>,
) -> Result<Vec<DeviceSlots>, DeviceError> {
    let mut seen = HashSet::new();
    if let Some(again) = wanted.iter().find(|wanted| !seen.insert(wanted.device)) {
        return Err(DeviceError::Twice(again.device));
    }
    let untried = wanted.iter().filter(|wanted| !wanted.device.is_built_in());
    try_join_all(untried.map(|wanted| device_probe::check(program, wanted.device))).await?;
    let default = |device: DeviceName| if device.is_processor() { processors() } else { 1 };
    let slots = |wanted: &DeviceArgument| wanted.slots.or(slots).unwrap_or_else(|| default(wanted.device));
    Ok(wanted.iter().map(|wanted| DeviceSlots { device: wanted.device, slots: slots(wanted) }).collect())
}

/// What there is to choose from.
#[derive(Debug, PartialEq, Serialize)]
pub struct DeviceList {
    /// Those that work.
    pub devices: Vec<DeviceReport>,
    /// What is wrong with others.
    pub unusable: Vec<String>,
    /// Cargo features that would add further kinds.
    pub features_not_built: Vec<&'static str>,
}

/// Looks for devices and measures them one after the other, which takes seconds; `tell` hears what is under way. `program` has the
/// verb `probe`.
pub async fn list(program: &Path, mut tell: impl FnMut(&str)) -> DeviceList {
    let mut list = DeviceList { devices: vec![], unusable: vec![], features_not_built: Backend::features_not_built() };
    tell("looking for devices");
    for found in device_probe::devices(program).await {
        let report = match found {
            Ok(device) => {
                tell(&format!("measuring {device}"));
                device_probe::measure(program, device).await
            }
            Err(error) => Err(error),
        };
        match report {
            Ok(report) => list.devices.push(report),
            Err(error) => list.unusable.push(with_causes(&error)),
        }
    }
    list
}

impl fmt::Display for DeviceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = ["device", "what it is", "memory", "best K", "lane-steps/s"].map(str::to_owned);
        let row = |report: &DeviceReport| {
            let gibibytes = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
            [
                report.name.clone(),
                report.description.clone(),
                report.memory_bytes.map_or_else(|| "unknown".to_owned(), gibibytes),
                report.lanes.to_string(),
                format!("{:.0}", report.lane_steps_per_second),
            ]
        };
        let rows: Vec<[String; 5]> = [headers].into_iter().chain(self.devices.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [name, what, memory, lanes, rate] = [0, 1, 2, 3, 4].map(width);
        for row in &rows {
            let [a, b, c, d, e] = row;
            writeln!(f, "{a:<name$}  {b:<what$}  {c:>memory$}  {d:>lanes$}  {e:>rate$}")?;
        }
        writeln!(f, "\nMeasured in one slot: steps of Adam on nets of {MEASURED}, K of them in lockstep.")?;
        for unusable in &self.unusable {
            writeln!(f, "Not usable: {unusable}")?;
        }
        for feature in &self.features_not_built {
            writeln!(f, "Not in this build: {feature} (cargo build --features {feature})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_have_slots_of_its_own() {
        let parsed = |text: &str| text.parse::<DeviceArgument>();
        assert_eq!(parsed("cpu"), Ok(DeviceArgument { device: DeviceName::Cpu, slots: None }));
        let gpu = "libtorch:cuda:1".parse().expect("a device");
        assert_eq!(parsed("libtorch:cuda:1=1024"), Ok(DeviceArgument { device: gpu, slots: Some(1024) }));
        for text in ["cpu=", "cpu=0", "cpu=1025", "cpu=-1", "cpu=2=3", "cpu=99999999999"] {
            assert!(matches!(parsed(text), Err(InvalidDevice::Slots { .. })), "{text}");
        }
        assert!(matches!(parsed("=2"), Err(InvalidDevice::Unknown(_))));
    }

    #[tokio::test]
    async fn slots_are_the_devices_own_or_those_of_all_or_those_it_has_processors() {
        let slots = async |text: &str, all| {
            let wanted: Vec<DeviceArgument> = text.split(',').map(|text| text.parse().expect("a device")).collect();
            usable(Path::new("/no/such/program"), &wanted, all).await
        };
        let of = |found: Result<Vec<DeviceSlots>, _>| found.expect("usable")[0].slots;
        assert_eq!(of(slots("cpu=3", Some(2)).await), 3);
        assert_eq!(of(slots("cpu", Some(2)).await), 2);
        assert_eq!(of(slots("cpu", None).await), processors());
        let twice = slots("cpu,cpu=2", None).await.expect_err("twice");
        assert!(matches!(twice, DeviceError::Twice(DeviceName::Cpu)), "{twice}");
        // What is no part of the program is tried first.
        let untried = slots("wgpu", None).await.expect_err("no program to try it with");
        assert!(matches!(untried, DeviceError::Unusable(ProbeError::Start { .. })), "{untried}");
    }

    #[test]
    fn the_list_is_a_table_that_says_what_is_missing() {
        let report = |name: &str, memory_bytes| DeviceReport {
            name: name.to_owned(),
            description: "a thing".to_owned(),
            memory_bytes,
            lanes: 16,
            lane_steps_per_second: 1234.5,
        };
        let list = DeviceList {
            devices: vec![report("cpu", Some(3 << 29)), report("wgpu:0", None)],
            unusable: vec!["libtorch cannot be used".to_owned()],
            features_not_built: vec!["wgpu"],
        };
        let text = list.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "cpu     a thing     1.5 GiB      16          1234");
        assert_eq!(lines[2], "wgpu:0  a thing     unknown      16          1234");
        assert_eq!(lines[5], "Not usable: libtorch cannot be used");
        assert_eq!(lines[6], "Not in this build: wgpu (cargo build --features wgpu)");
    }
}
