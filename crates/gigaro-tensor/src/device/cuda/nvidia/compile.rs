//! From the text of a module to machine code, by NVRTC, once for each kind of card: the result is kept on disk.
//!
//! Neither a card nor CUDA's headers are needed, so every kernel can be compiled for every kind of card on any machine; the test beside this
//! file does that.

use std::ffi::{CString, c_char, c_int};
use std::ptr::null;

use cudarc::nvrtc::sys::nvrtcProgram;

use super::super::Module;
use super::cache::{Cache, file_name};
use super::functions::{Nvrtc, Status};
use super::libraries::{Loaded, owned};

/// The oldest kind of card that is supported, as NVRTC counts: compute capability 8.0.
pub(super) const OLDEST: c_int = 80;

/// The dialect of the kernels. Sums and products may be contracted to fused multiply-adds, as NVRTC does unless it is told not to.
const OPTIONS: [&str; 1] = ["--std=c++17"];

/// Makes ptxas write what each kernel uses into the log.
#[cfg(test)]
pub(super) const REPORT: &str = "--ptxas-options=-v";

/// What NVRTC made of a text.
pub(super) struct Compiled {
    /// Machine code for one kind of card: a CUBIN.
    pub(super) image: Vec<u8>,
    /// Warnings, and what was asked for with [`REPORT`].
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test asks for reports"))]
    pub(super) log: String,
}

/// The machine code of a module, from the cache or by compiling.
pub(super) fn machine_code(
    nvrtc: &Loaded<Nvrtc>,
    cache: &Cache,
    module: &Module,
    architecture: &str,
) -> Result<Vec<u8>, String> {
    let text = module.text();
    let parts = [
        architecture,
        &nvrtc.version,
        &OPTIONS.join(" "),
        text.as_str(),
    ];
    let name = file_name(module.name, &parts);
    if let Some(image) = cache.read(&name) {
        return Ok(image);
    }
    let image = compile(&nvrtc.functions, module.name, &text, architecture, &[])?.image;
    cache.write(&name, &image);
    Ok(image)
}

/// Compiles a text.
///
/// # Errors
/// NVRTC's log, if the text is at fault; else what it said.
pub(super) fn compile(
    nvrtc: &Nvrtc,
    module: &str,
    text: &str,
    architecture: &str,
    more: &[&str],
) -> Result<Compiled, String> {
    let said = |e: Status| {
        // SAFETY: it takes any number, and answers with a constant that ends in a zero.
        let text = unsafe { owned((nvrtc.nvrtcGetErrorString)(e)) };
        let text = text.unwrap_or_else(|| format!("error {e}"));
        format!("NVRTC cannot compile {module}.cu for {architecture}: {text}")
    };
    let program = Program::new(nvrtc, module, text).map_err(&said)?;
    let target = format!("--gpu-architecture={architecture}");
    let options: Vec<&str> = OPTIONS
        .iter()
        .chain(more)
        .copied()
        .chain([&*target])
        .collect();
    let compiled = program.compile(&options);
    let log = program.log().unwrap_or_default();
    match compiled.and_then(|()| program.image()) {
        Ok(image) => Ok(Compiled { image, log }),
        Err(e) if log.is_empty() => Err(said(e)),
        Err(e) => Err(format!("{}:\n{log}", said(e))),
    }
}

/// A program of NVRTC's, while it is compiled.
struct Program<'a> {
    nvrtc: &'a Nvrtc,
    handle: nvrtcProgram,
}

impl<'a> Program<'a> {
    fn new(nvrtc: &'a Nvrtc, module: &str, text: &str) -> Result<Self, Status> {
        let (text, name) = (c_string(text), c_string(&format!("{module}.cu")));
        let mut handle = std::ptr::null_mut();
        // SAFETY: two strings that end in a zero and outlive the call, which copies them; no headers; a place for the handle.
        let status = unsafe {
            (nvrtc.nvrtcCreateProgram)(&mut handle, text.as_ptr(), name.as_ptr(), 0, null(), null())
        };
        answer(status)?;
        Ok(Program { nvrtc, handle })
    }

    fn compile(&self, options: &[&str]) -> Result<(), Status> {
        let options: Vec<CString> = options.iter().map(|option| c_string(option)).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the handle is a program's; as many strings as the number says, which outlive the call.
        answer(unsafe {
            (self.nvrtc.nvrtcCompileProgram)(
                self.handle,
                pointers.len() as c_int,
                pointers.as_ptr(),
            )
        })
    }

    fn image(&self) -> Result<Vec<u8>, Status> {
        let mut bytes = 0;
        // SAFETY: the handle is a program's; the size is written to a place of its type.
        answer(unsafe { (self.nvrtc.nvrtcGetCUBINSize)(self.handle, &mut bytes) })?;
        let mut image = vec![0_u8; bytes];
        // SAFETY: as many bytes are written as the size said.
        answer(unsafe { (self.nvrtc.nvrtcGetCUBIN)(self.handle, image.as_mut_ptr().cast()) })?;
        Ok(image)
    }

    fn log(&self) -> Result<String, Status> {
        let mut bytes = 0;
        // SAFETY: as above.
        answer(unsafe { (self.nvrtc.nvrtcGetProgramLogSize)(self.handle, &mut bytes) })?;
        let mut log = vec![0_u8; bytes];
        // SAFETY: as many bytes are written as the size said, a zero at the end among them.
        answer(unsafe { (self.nvrtc.nvrtcGetProgramLog)(self.handle, log.as_mut_ptr().cast()) })?;
        let text = String::from_utf8_lossy(&log);
        Ok(text.trim_end_matches('\0').trim().to_owned())
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is a program's and used by nobody after this. There is nothing to do if it fails.
        unsafe { (self.nvrtc.nvrtcDestroyProgram)(&mut self.handle) };
    }
}

fn answer(status: Status) -> Result<(), Status> {
    if status == 0 { Ok(()) } else { Err(status) }
}

/// A string for C. Our own texts have no zero in them; one that had would end there.
fn c_string(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().take_while(|&byte| byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

/// What a card's machine code is compiled for.
///
/// # Errors
/// A sentence, if the card is too old for the kernels or too new for this NVRTC.
pub(super) fn architecture(
    capability: (c_int, c_int),
    nvrtc: &Loaded<Nvrtc>,
) -> Result<String, String> {
    let mut count = 0;
    // SAFETY: it writes one number.
    let status = unsafe { (nvrtc.functions.nvrtcGetNumSupportedArchs)(&mut count) };
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: it writes as many numbers as it said there are.
    let status = status | unsafe { (nvrtc.functions.nvrtcGetSupportedArchs)(known.as_mut_ptr()) };
    if status != 0 {
        return Err(format!(
            "NVRTC does not tell what it can compile for (error {status}). Install it again."
        ));
    }
    choose(capability, &known).ok_or_else(|| {
        let (major, minor) = capability;
        format!(
            "NVRTC {} does not know cards of compute capability {major}.{minor}; install a newer one: `pip install --upgrade nvidia-cuda-nvrtc`.",
            nvrtc.version
        )
    })
}

/// The newest architecture of the card's generation that it can run and NVRTC can write. Hopper's own instructions (warpgroup products) need its `a`.
fn choose(capability: (c_int, c_int), known: &[c_int]) -> Option<String> {
    let (major, minor) = capability;
    let runs = |architecture: c_int| architecture / 10 == major && architecture % 10 <= minor;
    let best = known.iter().copied().filter(|&a| runs(a)).max()?;
    Some(if best == 90 {
        "sm_90a".to_owned()
    } else {
        format!("sm_{best}")
    })
}

/// Refuses cards for which the kernels are not written.
pub(super) fn new_enough(capability: (c_int, c_int)) -> Result<(), String> {
    let (major, minor) = capability;
    if major * 10 + minor >= OLDEST {
        return Ok(());
    }
    Err(format!(
        "has compute capability {major}.{minor}, and 8.0 (Ampere, of 2020) or newer is needed"
    ))
}

#[cfg(test)]
mod tests;
