//! The three libraries that a card needs, each opened once when it is first asked for, or the sentence that says why it cannot be used.

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::Library;

use super::functions::{CublasLt, Cuda, Nvrtc};
use super::search::{Found, Places, Wanted};

/// The oldest version of CUDA that is used, as the driver writes it.
const CUDA_VERSION: i32 = 13_000;
/// The first driver that has it.
const DRIVER: &str = "580";

const DRIVER_LIBRARY: Wanted = Wanted {
    name: "NVIDIA's driver",
    file: "libcuda.so.1",
    remedy: "Install the driver of your card, version 580 or newer, or start the container with its GPUs.",
};
const COMPILER_LIBRARY: Wanted = Wanted {
    name: "NVRTC, which compiles the kernels,",
    file: "libnvrtc.so.13",
    remedy: "`pip install nvidia-cuda-nvrtc==13.0.*`, or name its folder in GIGARO_CUDA_LIBRARIES.",
};
const PRODUCTS_LIBRARY: Wanted = Wanted {
    name: "cuBLASLt",
    file: "libcublasLt.so.13",
    remedy: "Matrix products run by a slower kernel of gigaro's own; `pip install nvidia-cublas==13.0.*`, or name its folder in GIGARO_CUDA_LIBRARIES.",
};

/// A library that can be used.
pub(super) struct Loaded<F> {
    pub(super) functions: F,
    /// Its file.
    pub(super) path: PathBuf,
    /// As people write it.
    pub(super) version: String,
}

/// What is kept of a library that was asked for.
type Once<F> = OnceLock<Result<Loaded<F>, String>>;

fn once<F>(
    slot: &'static Once<F>,
    open: fn() -> Result<Loaded<F>, String>,
) -> Result<&'static Loaded<F>, String> {
    slot.get_or_init(open).as_ref().map_err(Clone::clone)
}

/// The driver. No card has been asked for yet; it may be that there is none.
pub(super) fn driver() -> Result<&'static Loaded<Cuda>, String> {
    static DRIVER: Once<Cuda> = OnceLock::new();
    once(&DRIVER, open_driver)
}

/// The compiler, with the file of built-in declarations that it opens by name.
pub(super) fn compiler() -> Result<&'static Loaded<Nvrtc>, String> {
    static COMPILER: Once<Nvrtc> = OnceLock::new();
    once(&COMPILER, open_compiler)
}

/// Matrix products.
pub(super) fn products() -> Result<&'static Loaded<CublasLt>, String> {
    static PRODUCTS: Once<CublasLt> = OnceLock::new();
    once(&PRODUCTS, open_products)
}

fn open_driver() -> Result<Loaded<Cuda>, String> {
    let Found { library, path } = Places::of_process().open(&DRIVER_LIBRARY)?;
    let functions = Cuda::load(library, &path)?;
    let mut version = 0;
    // SAFETY: it writes one number, and may be called before anything else.
    let status = unsafe { (functions.cuDriverGetVersion)(&mut version) };
    if status != 0 {
        return Err(format!(
            "The driver does not tell its version (error {status}). Install it again."
        ));
    }
    new_enough(version)?;
    let version = match release(&path) {
        Some(release) => format!("{release}, CUDA {}", dotted(version)),
        None => format!("CUDA {}", dotted(version)),
    };
    Ok(Loaded {
        functions,
        path,
        version,
    })
}

/// Refuses drivers that know an older CUDA than the kernels are compiled for.
fn new_enough(version: i32) -> Result<(), String> {
    if version >= CUDA_VERSION {
        return Ok(());
    }
    let (known, needed) = (dotted(version), dotted(CUDA_VERSION));
    Err(format!(
        "The driver is too old: it knows CUDA {known}, and {needed} is needed. Install driver {DRIVER} or newer."
    ))
}

/// `13000` as `13.0`.
fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// The release of the driver, which stands behind the name of its file: `libcuda.so.580.159.03`.
fn release(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let release = name.strip_prefix("libcuda.so.")?;
    // `libcuda.so.1` and `.1.1` are names of links, or of WSL's library.
    (release.split('.').next()?.len() >= 3).then(|| release.to_owned())
}

fn open_compiler() -> Result<Loaded<Nvrtc>, String> {
    let Found { library, path } = Places::of_process().open(&COMPILER_LIBRARY)?;
    let functions = Nvrtc::load(library, &path)?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: it writes two numbers.
    let status = unsafe { (functions.nvrtcVersion)(&mut major, &mut minor) };
    let version = format!("{major}.{minor}");
    if status != 0 || major != CUDA_VERSION / 1000 {
        return Err(format!(
            "{} is NVRTC {version}, and 13 is needed. {}",
            path.display(),
            COMPILER_LIBRARY.remedy
        ));
    }
    open_builtins(&path, &version)?;
    Ok(Loaded {
        functions,
        path,
        version,
    })
}

/// NVRTC opens `libnvrtc-builtins` by name when it compiles; the loader finds it then because it is open already.
fn open_builtins(nvrtc: &Path, version: &str) -> Result<(), String> {
    let name = format!("libnvrtc-builtins.so.{version}");
    let beside = nvrtc.with_file_name(&name);
    // SAFETY: a library of the vendor's, without code that runs when it is opened.
    let opened = unsafe { Library::new(&beside).or_else(|_| Library::new(&name)) };
    match opened {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(e) => Err(format!(
            "{name}, which belongs to {}, cannot be loaded ({e}). Install it again: `pip install --force-reinstall nvidia-cuda-nvrtc=={version}.*`.",
            nvrtc.display()
        )),
    }
}

fn open_products() -> Result<Loaded<CublasLt>, String> {
    // cuBLASLt opens NVRTC by name; like this it gets the one that was chosen. It can do without.
    drop(compiler());
    let Found { library, path } = Places::of_process().open(&PRODUCTS_LIBRARY)?;
    let functions = CublasLt::load(library, &path)?;
    // SAFETY: it takes nothing and returns a number.
    let version = unsafe { (functions.cublasLtGetVersion)() };
    // 130002 is 13.0.2.
    let version = format!(
        "{}.{}.{}",
        version / 10_000,
        version / 100 % 100,
        version % 100
    );
    Ok(Loaded {
        functions,
        path,
        version,
    })
}

/// A copy of a text that a library owns; `None` for null.
///
/// # Safety
/// It is null, or ends in a zero.
pub(super) unsafe fn owned(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_refused_with_what_it_knows_and_what_is_needed() {
        assert_eq!(new_enough(13_000), Ok(()));
        assert_eq!(new_enough(13_020), Ok(()));
        let sentence = new_enough(12_080).unwrap_err();
        assert!(
            sentence.contains("CUDA 12.8, and 13.0 is needed") && sentence.contains("driver 580"),
            "{sentence}"
        );
    }

    #[test]
    fn the_release_of_a_driver_is_read_from_its_file_and_from_no_link() {
        let of = |path: &str| release(Path::new(path));
        assert_eq!(
            of("/usr/lib/libcuda.so.580.159.03").as_deref(),
            Some("580.159.03")
        );
        assert_eq!(of("libcuda.so.1"), None);
        assert_eq!(of("/usr/lib/wsl/lib/libcuda.so.1.1"), None);
    }

    #[test]
    fn a_compiler_without_its_declarations_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sentence = open_builtins(&folder.path().join("libnvrtc.so.13"), "13.77").unwrap_err();
        assert!(
            sentence.contains("libnvrtc-builtins.so.13.77"),
            "{sentence}"
        );
        assert!(sentence.contains("--force-reinstall"), "{sentence}");
    }
}
