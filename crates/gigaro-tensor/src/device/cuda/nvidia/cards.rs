//! Which cards there are, without opening one.

use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

use cudarc::driver::sys as cu;

use super::compile::new_enough;
use super::failure::unusable;
use super::functions::{Cuda, Status};

/// What the driver tells of a card.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) device: cu::CUdevice,
    pub(super) name: String,
    pub(super) memory_bytes: usize,
    /// Its generation and what was added to that.
    pub(super) capability: (c_int, c_int),
}

/// How many cards this program may use. The driver is started at the first call, once for the whole program.
pub(super) fn count(cuda: &Cuda) -> Result<usize, String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let start = || {
        // SAFETY: it may be called at any time.
        answer(cuda, unsafe { (cuda.cuInit)(0) })
    };
    STARTED.get_or_init(start).clone()?;
    let mut count = 0;
    // SAFETY: it writes one number.
    answer(cuda, unsafe { (cuda.cuDeviceGetCount)(&mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// A card by its index; the sentence says if there is none, or if it is too old.
pub(super) fn card(cuda: &Cuda, index: usize) -> Result<Facts, String> {
    let count = count(cuda)?;
    if index >= count {
        return Err(no_such_card(index, count));
    }
    let facts = facts(cuda, index)?;
    new_enough(facts.capability).map_err(|why| format!("Card {index} ({}) {why}.", facts.name))?;
    Ok(facts)
}

fn no_such_card(index: usize, count: usize) -> String {
    match count {
        0 => "There is no NVIDIA card that this program may see: look at CUDA_VISIBLE_DEVICES."
            .to_owned(),
        1 => format!("There is no card {index}: this program sees one, card 0."),
        _ => format!(
            "There is no card {index}: this program sees {count}, from 0 to {}.",
            count - 1
        ),
    }
}

/// What the driver tells of the card with this index, old or not.
pub(super) fn facts(cuda: &Cuda, index: usize) -> Result<Facts, String> {
    use cu::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let mut device = 0;
    let number = c_int::try_from(index).unwrap_or(c_int::MAX);
    // SAFETY: the device is written to a place of its type.
    answer(cuda, unsafe { (cuda.cuDeviceGet)(&mut device, number) })?;
    let mut name = [0_u8; 256];
    let length = name.len() as c_int;
    // SAFETY: it writes no more than the length, a zero at the end among it.
    answer(cuda, unsafe {
        (cuda.cuDeviceGetName)(name.as_mut_ptr().cast::<c_char>(), length, device)
    })?;
    let mut memory_bytes = 0;
    // SAFETY: it writes one number.
    answer(cuda, unsafe {
        (cuda.cuDeviceTotalMem_v2)(&mut memory_bytes, device)
    })?;
    let attribute = |attribute| {
        let mut value = 0;
        // SAFETY: it writes one number.
        answer(cuda, unsafe {
            (cuda.cuDeviceGetAttribute)(&mut value, attribute, device)
        })?;
        Ok::<_, String>(value)
    };
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(Facts {
        device,
        name: name.to_string_lossy().into_owned(),
        memory_bytes,
        capability: (attribute(MAJOR)?, attribute(MINOR)?),
    })
}

fn answer(cuda: &Cuda, status: Status) -> Result<(), String> {
    if status == 0 {
        Ok(())
    } else {
        Err(unusable(cuda, status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_does_not_exist_is_answered_with_those_that_do() {
        assert!(no_such_card(0, 0).contains("CUDA_VISIBLE_DEVICES"));
        assert!(no_such_card(1, 1).contains("no card 1") && no_such_card(1, 1).contains("card 0"));
        assert!(no_such_card(8, 8).ends_with("from 0 to 7."));
    }
}
