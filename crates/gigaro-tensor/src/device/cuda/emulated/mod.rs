//! A card that is none: the text of each kernel, compiled by g++ against `shim.h`, run on the processor.
//!
//! It shows that kernels compute what they should, and that they stay within their memory: every block of memory is followed by bytes that must
//! not change, and is filled with NaNs before it is given out. It says nothing about speed, and nothing about races that a turn of fibres, in two
//! orders, does not show.

mod products;

use std::alloc::Layout;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::hash::{Hash, Hasher};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libloading::Library;

use super::driver::{Address, Captured, Driver, DriverError, Grid, Kernel, Product, Result, Value};
use super::{Module, gpu};
use crate::{Device, Error};

/// Opens an emulated card under this number, for tests.
///
/// # Errors
/// If there is no g++ here.
pub fn open_emulated(index: usize) -> std::result::Result<Device, Error> {
    open_emulated_of(index, 1 << 30)
}

/// The card that tests run on: card 0 where `GIGARO_TEST_DEVICE` is `cuda`, with products of f32 in f32, and an emulated one elsewhere.
///
/// # Errors
/// If it cannot be opened.
pub fn open_for_tests() -> std::result::Result<Device, Error> {
    if std::env::var("GIGARO_TEST_DEVICE").is_ok_and(|device| device == "cuda") {
        super::allow_tf32(false);
        return super::open(0);
    }
    open_emulated(900)
}

/// [`open_emulated`] with so many bytes of memory.
///
/// # Errors
/// As there.
pub fn open_emulated_of(index: usize, bytes: usize) -> std::result::Result<Device, Error> {
    opened(index, bytes, false)
}

/// [`open_emulated`] with a library for products, as a card has one: elsewhere kernels do them.
///
/// # Errors
/// As there.
pub fn open_emulated_with_library(index: usize) -> std::result::Result<Device, Error> {
    opened(index, 1 << 30, true)
}

fn opened(index: usize, bytes: usize, library: bool) -> std::result::Result<Device, Error> {
    gpu::open_with(index, || {
        let found = Command::new("g++").arg("--version").output();
        found.map_err(|e| format!("g++ does not run ({e}); install it to test kernels"))?;
        Ok(Box::new(Emulated {
            memory: bytes,
            library,
            modules: Arc::default(),
            blocks: Mutex::default(),
            capturing: Mutex::default(),
        }))
    })
}

type Launch = unsafe extern "C" fn(
    *const c_void,
    *const c_uint,
    c_uint,
    c_uint,
    *const *const c_void,
) -> *const c_char;

struct Emulated {
    memory: usize,
    /// Whether products are done as by a library.
    library: bool,
    modules: Arc<Modules>,
    blocks: Mutex<HashMap<Address, usize>>,
    capturing: Mutex<Option<Vec<Work>>>,
}

/// What was asked while work is captured.
enum Work {
    Launch {
        module: &'static Module,
        name: String,
        grid: Grid,
        values: Vec<Box<[MaybeUninit<u8>]>>,
    },
    Product(Product),
    Copy(Address, Address, usize),
    Clear(Address, usize),
}

/// Work that was captured.
struct Recorded {
    modules: Arc<Modules>,
    work: Vec<Work>,
}

impl Captured for Recorded {
    unsafe fn launch(&self) -> Result<()> {
        for work in &self.work {
            match work {
                Work::Launch {
                    module,
                    name,
                    grid,
                    values,
                } => {
                    let pointers: Vec<*const c_void> =
                        values.iter().map(|value| value.as_ptr().cast()).collect();
                    let kernel = Kernel { module, name };
                    // SAFETY: the values that were given for this kernel; the rest is the caller's.
                    unsafe { self.modules.launch(kernel, *grid, &pointers) }?;
                }
                // SAFETY: the caller's.
                Work::Product(product) => drop(unsafe { products::product(product) }),
                // SAFETY: the caller's.
                Work::Copy(to, from, bytes) => unsafe { copy(*to, *from, *bytes) },
                // SAFETY: the caller's.
                Work::Clear(at, bytes) => unsafe { clear(*at, *bytes) },
            }
        }
        Ok(())
    }
}

/// # Safety
/// The blocks are that large, and do not overlap.
unsafe fn copy(to: Address, from: Address, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
}

/// # Safety
/// The block is that large.
unsafe fn clear(at: Address, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { (at as *mut u8).write_bytes(0, bytes) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes after each block, and what they hold.
const GUARD: usize = 256;
const UNTOUCHED: u8 = 0xff;

fn failed(what: &str, said: impl ToString) -> DriverError {
    DriverError::Failed {
        what: what.to_owned(),
        said: said.to_string(),
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + GUARD, 256).expect("sizes of tests are small")
}

impl Emulated {
    /// Writes work down if it is captured; gives it back if it is to be done.
    fn noted(&self, work: Work) -> Option<Work> {
        match &mut *lock(&self.capturing) {
            Some(all) => {
                all.push(work);
                None
            }
            None => Some(work),
        }
    }

    fn not_while_capturing(&self, what: &'static str) -> Result<()> {
        match &*lock(&self.capturing) {
            Some(_) => Err(DriverError::NotCapturable { what }),
            None => Ok(()),
        }
    }

    /// # Panics
    /// If a kernel wrote behind a block.
    fn check_guards(&self) {
        for (&at, &bytes) in lock(&self.blocks).iter() {
            // SAFETY: the block is held and this much longer than it says.
            let guard = unsafe { std::slice::from_raw_parts((at as *const u8).add(bytes), GUARD) };
            assert!(
                guard.iter().all(|&b| b == UNTOUCHED),
                "a kernel wrote behind a block of {bytes} bytes"
            );
        }
    }
}

impl Driver for Emulated {
    fn name(&self) -> String {
        "emulated card".to_owned()
    }

    fn memory(&self) -> Result<(usize, usize)> {
        let blocks = lock(&self.blocks);
        let used: usize = blocks.values().sum();
        Ok((self.memory.saturating_sub(used), self.memory))
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        if bytes > self.memory()?.0 {
            return Err(DriverError::OutOfMemory { bytes });
        }
        // SAFETY: the size is not zero.
        let at = unsafe { std::alloc::alloc(layout(bytes)) };
        if at.is_null() {
            return Err(DriverError::OutOfMemory { bytes });
        }
        // SAFETY: the block is that large.
        unsafe { at.write_bytes(UNTOUCHED, bytes + GUARD) };
        let mut blocks = lock(&self.blocks);
        blocks.insert(at as Address, bytes);
        Ok(at as Address)
    }

    fn free(&self, at: Address) {
        self.check_guards();
        let mut blocks = lock(&self.blocks);
        let bytes = blocks.remove(&at).expect("a block is freed once");
        // SAFETY: it came from `allocate` with this layout.
        unsafe { std::alloc::dealloc(at as *mut u8, layout(bytes)) };
    }

    fn upload(&self, to: Address, from: &[u8]) -> Result<()> {
        self.not_while_capturing("copying to the card")?;
        // SAFETY: the caller's block is that large.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
        Ok(())
    }

    fn download(&self, to: &mut [u8], from: Address) -> Result<()> {
        self.not_while_capturing("copying from the card")?;
        self.check_guards();
        // SAFETY: the caller's block is that large.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()> {
        if self.noted(Work::Copy(to, from, bytes)).is_some() {
            // SAFETY: the caller's blocks are that large.
            unsafe { copy(to, from, bytes) };
        }
        Ok(())
    }

    fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        if self.noted(Work::Clear(at, bytes)).is_some() {
            // SAFETY: the caller's block is that large.
            unsafe { clear(at, bytes) };
        }
        Ok(())
    }

    unsafe fn launch(&self, kernel: Kernel<'_>, grid: Grid, arguments: &[Value]) -> Result<()> {
        if lock(&self.capturing).is_none() {
            let pointers: Vec<*const c_void> = arguments.iter().map(|value| value.at).collect();
            // SAFETY: the caller's.
            return unsafe { self.modules.launch(kernel, grid, &pointers) };
        }
        let held = |value: &Value| {
            // SAFETY: the value is there and that large; bytes between its fields may hold anything.
            let bytes = unsafe { std::slice::from_raw_parts(value.at.cast(), value.bytes) };
            Box::<[MaybeUninit<u8>]>::from(bytes)
        };
        self.noted(Work::Launch {
            module: kernel.module,
            name: kernel.name.to_owned(),
            grid,
            values: arguments.iter().map(held).collect(),
        });
        Ok(())
    }

    unsafe fn product(&self, product: &Product) -> Result<bool> {
        if !self.library || !super::nvidia::takes(product) {
            return Ok(false);
        }
        match self.noted(Work::Product(*product)) {
            // SAFETY: the caller's.
            Some(_) => Ok(unsafe { products::product(product) }),
            None => Ok(true),
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.not_while_capturing("waiting for the card")
    }

    fn begin_capture(&self) -> Result<()> {
        self.not_while_capturing("beginning to capture work")?;
        *lock(&self.capturing) = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&self) -> Result<Box<dyn Captured>> {
        let work = lock(&self.capturing).take();
        let work = work.ok_or_else(|| failed("ending a capture of work", "none was begun"))?;
        let modules = Arc::clone(&self.modules);
        Ok(Box::new(Recorded { modules, work }))
    }
}

/// The modules that were compiled.
#[derive(Default)]
struct Modules(Mutex<HashMap<&'static str, Library>>);

impl Modules {
    /// # Safety
    /// The arguments are those of the kernel, and the addresses among them are of blocks as large as it reads and writes.
    unsafe fn launch(
        &self,
        kernel: Kernel<'_>,
        grid: Grid,
        arguments: &[*const c_void],
    ) -> Result<()> {
        let mut modules = lock(&self.0);
        if !modules.contains_key(kernel.module.name) {
            let library = compiled(kernel.module)?;
            modules.insert(kernel.module.name, library);
        }
        let library = &modules[kernel.module.name];
        // SAFETY: both functions are defined by the text with these types.
        let (launch, call) = unsafe {
            let launch = library.get::<Launch>(b"shim_launch");
            let call = library.get::<*const c_void>(format!("call_{}", kernel.name).as_bytes());
            (
                *launch.map_err(|e| failed("load", e))?,
                *call.map_err(|e| failed("load", e))?,
            )
        };
        drop(modules);
        // SAFETY: the caller's arguments, and a grid of three numbers.
        let said = unsafe {
            launch(
                call,
                grid.blocks.as_ptr(),
                grid.threads,
                grid.shared,
                arguments.as_ptr(),
            )
        };
        if said.is_null() {
            return Ok(());
        }
        // SAFETY: a string that lives as long as the library.
        let said = unsafe { CStr::from_ptr(said) };
        Err(failed(kernel.name, said.to_string_lossy()))
    }
}

/// The module as a library, compiled unless this very text was before.
fn compiled(module: &Module) -> Result<Library> {
    let text = format!("{}\n{}", include_str!("shim.h"), module.text());
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let file = format!("{}-{:016x}", module.name, hasher.finish());
    let library = folder()?.join(format!("{file}.so"));
    if !library.exists() {
        let unique = folder()?.join(format!("{file}-{}", std::process::id()));
        let (source, object) = (unique.with_extension("cc"), unique.with_extension("so.new"));
        std::fs::write(&source, text).map_err(|e| failed("write a kernel", e))?;
        let output = Command::new("g++")
            .args([
                "-std=c++17",
                "-O1",
                "-fwrapv",
                "-shared",
                "-fPIC",
                "-fno-gnu-unique",
                "-Wall",
                "-Wno-unknown-pragmas",
                "-o",
            ])
            .args([&object, &source])
            .output()
            .map_err(|e| failed("g++", e))?;
        if !output.status.success() {
            return Err(failed(module.name, String::from_utf8_lossy(&output.stderr)));
        }
        // Another test may have done the same meanwhile; either file is right.
        std::fs::rename(&object, &library).map_err(|e| failed("g++", e))?;
    }
    // SAFETY: the library has no initialisers but those of the standard library.
    unsafe { Library::new(&library) }.map_err(|e| failed("load", e))
}

/// Beside the test program, in the target folder.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|e| failed("find the program", e))?;
    let folder = program.with_file_name("emulated-kernels");
    std::fs::create_dir_all(&folder).map_err(|e| failed("make a folder", e))?;
    Ok(folder)
}
