//! Where the models of this process live: chosen once, by `--device`.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Result, bail};
use gigaro_models::gpt::WeightFormat;
use gigaro_nn::Module;
use gigaro_tensor::{Device, cuda};

/// What `--device` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The first card that can be used, and the processor if there is none.
    Auto,
    /// This one and no other.
    Demanded(Device),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = |text: &str| text.parse().ok().filter(|&i: &usize| i < 1024);
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let device = match text {
            "cpu" => Some(Device::Cpu),
            "cuda" => Some(Device::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(index)
                .map(Device::Cuda),
        };
        device.map(Self::Demanded).ok_or_else(|| {
            format!("a device is cpu, cuda (the first card), cuda:N (card N, from 0) or auto (a card if one can be used), and {text} is none")
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Demanded(device) => device.fmt(f),
        }
    }
}

static CHOSEN: OnceLock<Device> = OnceLock::new();

/// Puts `--device` into force; without it, models live on the processor.
///
/// # Errors
/// If the card cannot be used: a sentence that says why.
pub(crate) fn choose(choice: Option<Choice>) -> Result<()> {
    let device = match choice {
        None => Device::Cpu,
        Some(Choice::Demanded(Device::Cpu)) => Device::Cpu,
        Some(Choice::Demanded(Device::Cuda(index))) => cuda::open(index)?,
        // Why there is none, `gigaro doctor` says.
        Some(Choice::Auto) => first_usable().unwrap_or(Device::Cpu),
    };
    // The second command of a process, in tests, keeps what the first one chose.
    let _ = CHOSEN.set(device);
    Ok(())
}

/// The first card that can be opened.
fn first_usable() -> Option<Device> {
    let cards = cuda::survey().cards.into_iter();
    let mut usable = cards.filter(|card| card.unusable.is_none());
    usable.find_map(|card| cuda::open(card.index).ok())
}

/// The device of this process.
pub(crate) fn chosen() -> Device {
    CHOSEN.get().copied().unwrap_or_default()
}

/// Moves a model there.
pub(crate) fn place(module: &dyn Module) {
    module.to_device(chosen());
}

/// The device of this process for people: a card with its name.
pub(crate) fn described() -> String {
    match chosen() {
        Device::Cpu => Device::Cpu.to_string(),
        Device::Cuda(index) => format!("{} ({})", chosen(), cuda::name(index)),
    }
}

/// Waits until what was asked of a card has happened, so that a clock may be read.
pub(crate) fn finish() {
    if let Device::Cuda(index) = chosen() {
        cuda::synchronize(index);
    }
}

/// The most memory that tensors have held on the card of this process; `None` on the processor.
pub(crate) fn peak_bytes() -> Option<usize> {
    match chosen() {
        Device::Cpu => None,
        Device::Cuda(index) => Some(cuda::memory_stats(index)?.peak_bytes),
    }
}

/// # Errors
/// If weights in this form are not for the device of this process.
pub(crate) fn check_format(format: WeightFormat) -> Result<()> {
    if chosen() != Device::Cpu && matches!(format, WeightFormat::Int8 | WeightFormat::Int4) {
        bail!(
            "weights of 8 and 4 bits are for the processor, and this process computes on {}: take --dtype bf16, or --device cpu",
            chosen()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_pytorch_names_them() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:3", Device::Cuda(3)),
        ] {
            assert_eq!(text.parse(), Ok(Choice::Demanded(device)));
        }
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:1024", "CPU"] {
            let said = text.parse::<Choice>().expect_err(text);
            assert!(said.contains("a device is cpu, cuda"), "{said}");
        }
    }
}
