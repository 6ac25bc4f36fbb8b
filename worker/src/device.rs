//! The devices to train on. Only this file names Burn's backends.
//!
//! Names are known in every build, so that an error about a missing backend can say how to get it. Calls of a native
//! library may end the process: [`crate::device_probe`] makes them in a child.

use std::{fmt, str::FromStr};

use burn::tensor::{Device, Tensor};

/// A device for tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// `cpu`: the processor, through Burn's flex backend. Single-threaded: run several slots instead.
    Cpu,
    /// `libtorch:cpu`: the processor, through libtorch. Single-threaded, too.
    LibtorchCpu,
    /// `libtorch:cuda:N`: an NVIDIA GPU, through libtorch.
    LibtorchCuda(u16),
    /// `libtorch:mps`: the GPU of an Apple processor, through libtorch.
    LibtorchMps,
    /// `wgpu:N`: a GPU, through Vulkan, Metal or another interface of the system.
    Wgpu(u16),
    /// `wgpu:cpu`: a processor that a driver presents as a GPU, such as Mesa's lavapipe. Slow, so for tests only.
    WgpuCpu,
}

/// Every name without a number, and one of each kind with a number.
const NAMES: [&str; 7] = ["cpu", "libtorch:cpu", "libtorch:cuda:0", "libtorch:mps", "wgpu", "wgpu:0", "wgpu:cpu"];

/// The syntax of names in help texts.
pub const SYNTAX: &str = "cpu, libtorch:cpu, libtorch:cuda:N, libtorch:mps, wgpu:N, wgpu:cpu";

/// The error for text that is not the name of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {found:?} (expected {SYNTAX}); did you mean {nearest:?}?")]
pub struct UnknownDevice {
    found: String,
    nearest: &'static str,
}

impl FromStr for DeviceName {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        // Digits only: no sign, and a unique way to write each number.
        let number = |text: &str| match text.parse().ok() {
            Some(number) if u16::to_string(&number) == text => Some(number),
            _ => None,
        };
        let name = match text {
            "cpu" => Some(Self::Cpu),
            "libtorch:cpu" => Some(Self::LibtorchCpu),
            "libtorch:mps" => Some(Self::LibtorchMps),
            "wgpu" => Some(Self::Wgpu(0)),
            "wgpu:cpu" => Some(Self::WgpuCpu),
            _ => None,
        };
        let numbered = || text.strip_prefix("libtorch:cuda:").and_then(number).map(Self::LibtorchCuda);
        let adapter = || text.strip_prefix("wgpu:").and_then(number).map(Self::Wgpu);
        name.or_else(numbered).or_else(adapter).ok_or_else(|| {
            let found: String = text.chars().take(80).collect();
            UnknownDevice { nearest: nearest(&found), found }
        })
    }
}

/// The most likely intended name: one that contains the text, whatever its number, or else the most similar one.
fn nearest(text: &str) -> &'static str {
    let words = text.split(|letter: char| letter.is_ascii_digit());
    let mut asked = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("0").to_lowercase();
    if text.ends_with(|letter: char| letter.is_ascii_digit()) {
        asked.push('0');
    }
    let distance = |name: &&str| (!name.contains(&asked), strsim::osa_distance(&asked, name));
    NAMES.into_iter().min_by_key(distance).unwrap_or("cpu")
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::LibtorchCpu => f.write_str("libtorch:cpu"),
            Self::LibtorchCuda(number) => write!(f, "libtorch:cuda:{number}"),
            Self::LibtorchMps => f.write_str("libtorch:mps"),
            Self::Wgpu(number) => write!(f, "wgpu:{number}"),
            Self::WgpuCpu => f.write_str("wgpu:cpu"),
        }
    }
}

/// Why a device cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDevice {
    /// The backend is not part of this build.
    #[error("{device} needs a build with the feature {feature}: cargo build --features {feature}")]
    NotBuilt {
        /// The requested device.
        device: DeviceName,
        /// The Cargo feature.
        feature: &'static str,
    },
    /// The backend is part of this build, but the device is missing or cannot be used.
    #[error("no device {device}: {reason}")]
    Missing {
        /// The requested device.
        device: DeviceName,
        /// The reason.
        reason: String,
    },
}

/// A library that gives access to devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// Burn's own backend for processors.
    Flex,
    /// libtorch.
    Libtorch,
    /// wgpu.
    Wgpu,
}

impl Backend {
    /// The Cargo feature of each optional backend, and whether this build has it. Flex needs none.
    const FEATURES: [(Self, &'static str, bool); 2] =
        [(Self::Libtorch, "libtorch", cfg!(feature = "libtorch")), (Self::Wgpu, "wgpu", cfg!(feature = "wgpu"))];

    /// The backends of this build.
    #[must_use]
    pub fn built() -> Vec<Self> {
        let further = Self::FEATURES.into_iter().filter_map(|(backend, _, built)| built.then_some(backend));
        [Self::Flex].into_iter().chain(further).collect()
    }

    /// Cargo features that would add the other backends.
    #[must_use]
    pub fn features_not_built() -> Vec<&'static str> {
        Self::FEATURES.into_iter().filter_map(|(_, feature, built)| (!built).then_some(feature)).collect()
    }

    /// The devices that the backend finds. Calls a native library, which may end the process.
    #[must_use]
    pub fn devices(self) -> Vec<DeviceName> {
        match self {
            Self::Flex => vec![DeviceName::Cpu],
            Self::Libtorch => libtorch::devices(),
            Self::Wgpu => adapters::devices(),
        }
    }
}

/// Properties of an open device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// A description for people.
    pub what: String,
    /// Its memory in bytes, if known.
    pub memory: Option<u64>,
}

impl DeviceName {
    /// The backend of the device.
    #[must_use]
    pub const fn backend(self) -> Backend {
        match self {
            Self::Cpu => Backend::Flex,
            Self::LibtorchCpu | Self::LibtorchCuda(_) | Self::LibtorchMps => Backend::Libtorch,
            Self::Wgpu(_) | Self::WgpuCpu => Backend::Wgpu,
        }
    }

    /// Whether it is part of the program, so that it is always available.
    #[must_use]
    pub fn is_built_in(self) -> bool {
        self.backend() == Backend::Flex
    }

    /// Whether a slot is one thread of the processor, so that several slots are useful.
    #[must_use]
    pub const fn is_processor(self) -> bool {
        matches!(self, Self::Cpu | Self::LibtorchCpu)
    }

    /// Opens the device, single-threaded if it is a processor. Calls a native library, which may end the process.
    ///
    /// # Errors
    /// If this build or machine does not have the device.
    pub fn open(self) -> Result<Device, NoDevice> {
        match self.backend() {
            Backend::Flex => Ok(Device::flex()),
            Backend::Libtorch => libtorch::open(self),
            Backend::Wgpu => adapters::open(self),
        }
    }

    /// Whether the open device computes a small sum correctly.
    #[must_use]
    pub fn computes(self, device: &Device) -> bool {
        let ones = Tensor::<2>::ones([3, 3], device);
        let product = ones.clone().matmul(ones).into_data();
        product.as_slice::<f32>().is_ok_and(|values| values == [3.0; 9])
    }

    /// Describes the open device.
    #[must_use]
    pub fn describe(self, device: &Device) -> Description {
        match self {
            Self::Cpu | Self::LibtorchCpu => processor(),
            Self::LibtorchCuda(number) => nvidia(number),
            Self::LibtorchMps => Description { what: "Apple GPU".to_owned(), memory: processor().memory },
            Self::Wgpu(_) | Self::WgpuCpu => Description { what: adapters::name(device), memory: None },
        }
    }
}

/// Whether the device's tensors are in the processor's memory, so that access to their numbers copies nothing.
#[must_use]
pub fn shares_memory(device: &Device) -> bool {
    *device == Device::flex()
}

/// The device for computations that must not depend on the training device: the processor, in every build.
#[must_use]
pub fn reference() -> Device {
    Device::flex()
}

/// The processor and its memory, as reported by Linux.
fn processor() -> Description {
    let field = |path: &str, name: &str| -> Option<String> {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kibibytes =
        field("/proc/meminfo", "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
    Description { what: format!("{model}, {threads} threads"), memory: kibibytes.map(|number| number * 1024) }
}

/// The GPU, as reported by the driver's tool. It numbers GPUs as CUDA does if `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`,
/// which executors are started with, and all GPUs are visible.
fn nvidia(number: u16) -> Description {
    let unknown = || Description { what: "NVIDIA GPU".to_owned(), memory: None };
    if std::env::var_os("CUDA_VISIBLE_DEVICES").is_some() {
        return unknown();
    }
    let output = std::process::Command::new("nvidia-smi")
        .args(["--query-gpu=name,memory.total", "--format=csv,noheader,nounits", "--id", &number.to_string()])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            nvidia_line(&String::from_utf8_lossy(&output.stdout)).unwrap_or_else(unknown)
        }
        _ => unknown(),
    }
}

/// Parses `NVIDIA H100 80GB HBM3, 81559`, in MiB.
fn nvidia_line(line: &str) -> Option<Description> {
    let (name, mebibytes) = line.trim().rsplit_once(',')?;
    let mebibytes: u64 = mebibytes.trim().parse().ok()?;
    Some(Description { what: name.trim().to_owned(), memory: Some(mebibytes * 1024 * 1024) })
}

#[cfg(feature = "libtorch")]
#[expect(
    deprecated,
    reason = "Burn's libtorch backend leaves with 0.23; it is a feature of its own, and wgpu the way on"
)]
mod libtorch {
    use burn::tensor::Device;

    use super::{DeviceName, NoDevice};

    pub(super) fn devices() -> Vec<DeviceName> {
        let gpus = (0..gpus()).map(DeviceName::LibtorchCuda);
        let apple = tch::utils::has_mps().then_some(DeviceName::LibtorchMps);
        [DeviceName::LibtorchCpu].into_iter().chain(gpus).chain(apple).collect()
    }

    fn gpus() -> u16 {
        if tch::Cuda::is_available() { u16::try_from(tch::Cuda::device_count()).unwrap_or(0) } else { 0 }
    }

    pub(super) fn open(device: DeviceName) -> Result<Device, NoDevice> {
        let missing = |reason: String| Err(NoDevice::Missing { device, reason });
        tch::set_num_threads(1);
        match device {
            DeviceName::LibtorchCuda(number) => match gpus() {
                0 => missing("libtorch finds no GPU; this build may use a CPU-only libtorch".to_owned()),
                gpus if number >= gpus => missing(format!("libtorch finds {gpus} GPU(s), numbered from 0")),
                _ => Ok(Device::libtorch_cuda(usize::from(number))),
            },
            DeviceName::LibtorchMps if !tch::utils::has_mps() => missing("libtorch finds no Apple GPU".to_owned()),
            DeviceName::LibtorchMps => Ok(Device::libtorch_mps()),
            _ => Ok(Device::libtorch()),
        }
    }
}

#[cfg(not(feature = "libtorch"))]
mod libtorch {
    use burn::tensor::Device;

    use super::{DeviceName, NoDevice};

    pub(super) fn devices() -> Vec<DeviceName> {
        vec![]
    }

    pub(super) fn open(device: DeviceName) -> Result<Device, NoDevice> {
        Err(NoDevice::NotBuilt { device, feature: "libtorch" })
    }
}

#[cfg(feature = "wgpu")]
mod adapters {
    use burn::tensor::{Device, DeviceKind, DeviceType};

    use super::{DeviceName, NoDevice};

    /// GPUs in the order of the system's graphics interface, and whether there is a processor that looks like one.
    fn found() -> (Vec<Device>, bool) {
        let processor = Device::wgpu(DeviceKind::Cpu);
        let (processors, gpus): (Vec<Device>, Vec<Device>) =
            Device::enumerate(DeviceType::Wgpu).into_iter().partition(|device| *device == processor);
        (gpus, !processors.is_empty())
    }

    pub(super) fn devices() -> Vec<DeviceName> {
        let (gpus, processor) = found();
        let gpus = (0..).take(gpus.len()).map(DeviceName::Wgpu);
        gpus.chain(processor.then_some(DeviceName::WgpuCpu)).collect()
    }

    pub(super) fn open(device: DeviceName) -> Result<Device, NoDevice> {
        let missing = |reason: String| NoDevice::Missing { device, reason };
        let (gpus, processor) = found();
        let DeviceName::Wgpu(number) = device else {
            let reason = "the system presents no processor as a GPU (Mesa's lavapipe does, for example)";
            return processor.then(|| Device::wgpu(DeviceKind::Cpu)).ok_or_else(|| missing(reason.to_owned()));
        };
        let reason = match (gpus.len(), processor) {
            (0, true) => "the system has no GPU, but presents a processor as one: wgpu:cpu".to_owned(),
            (0, false) => {
                "the system has no GPU: check that a driver for Vulkan, Metal or OpenGL is installed".to_owned()
            }
            (count, _) => format!("the system has {count} GPU(s), numbered from 0"),
        };
        gpus.into_iter().nth(usize::from(number)).ok_or_else(|| missing(reason))
    }

    pub(super) fn name(device: &Device) -> String {
        device.identity().map_or_else(|| "unknown".to_owned(), |identity| identity.name)
    }
}

#[cfg(not(feature = "wgpu"))]
mod adapters {
    use burn::tensor::Device;

    use super::{DeviceName, NoDevice};

    pub(super) fn devices() -> Vec<DeviceName> {
        vec![]
    }

    pub(super) fn open(device: DeviceName) -> Result<Device, NoDevice> {
        Err(NoDevice::NotBuilt { device, feature: "wgpu" })
    }

    pub(super) fn name(_: &Device) -> String {
        "GPU".to_owned()
    }
}

#[cfg(test)]
mod tests;
