//! A card that is none: the text of each kernel, compiled by g++ against `shim.h`, run on the processor.
//!
//! It shows that kernels compute what they should, and that they stay within their memory: every block of memory is followed by bytes that must
//! not change, and is filled with NaNs before it is given out. It says nothing about speed, and nothing about races that a turn of fibres, in two
//! orders, does not show.

use std::alloc::Layout;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use super::driver::{Address, Driver, DriverError, Grid, Kernel, Product, Result};
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
    gpu::open_with(index, || {
        let found = Command::new("g++").arg("--version").output();
        found.map_err(|e| format!("g++ does not run ({e}); install it to test kernels"))?;
        Ok(Box::new(Emulated {
            memory: bytes,
            modules: Mutex::default(),
            blocks: Mutex::default(),
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
    modules: Mutex<HashMap<&'static str, Library>>,
    blocks: Mutex<HashMap<Address, usize>>,
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
    /// # Panics
    /// If a kernel wrote behind a block.
    fn check_guards(&self) {
        for (&at, &bytes) in self
            .blocks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
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
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.insert(at as Address, bytes);
        Ok(at as Address)
    }

    fn free(&self, at: Address) {
        self.check_guards();
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = blocks.remove(&at).expect("a block is freed once");
        // SAFETY: it came from `allocate` with this layout.
        unsafe { std::alloc::dealloc(at as *mut u8, layout(bytes)) };
    }

    fn upload(&self, to: Address, from: &[u8]) -> Result<()> {
        // SAFETY: the caller's block is that large.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
        Ok(())
    }

    fn download(&self, to: &mut [u8], from: Address) -> Result<()> {
        self.check_guards();
        // SAFETY: the caller's block is that large.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller's blocks are that large.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller's block is that large.
        unsafe { (at as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    unsafe fn launch(
        &self,
        kernel: Kernel<'_>,
        grid: Grid,
        arguments: &[*const c_void],
    ) -> Result<()> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
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

    unsafe fn product(&self, _product: &Product) -> Result<bool> {
        Ok(false)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
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
