//! The devices that this build can train on. The one file that names Burn's backends.

use std::{fmt, str::FromStr};

use burn::tensor::Device;

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// The processor, through Burn's flex backend. One thread: run several slots instead.
    Cpu,
}

/// A device that this build does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {found:?}: this build has cpu")]
pub struct UnknownDevice {
    found: String,
}

impl FromStr for DeviceName {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "cpu" => Ok(Self::Cpu),
            _ => Err(UnknownDevice { found: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
        }
    }
}

impl DeviceName {
    /// Opens the device.
    #[must_use]
    pub fn open(self) -> Device {
        match self {
            Self::Cpu => Device::flex(),
        }
    }
}

/// Where numbers are computed that must not depend on the device of a training: the processor, in every build.
#[must_use]
pub fn reference() -> Device {
    DeviceName::Cpu.open()
}
