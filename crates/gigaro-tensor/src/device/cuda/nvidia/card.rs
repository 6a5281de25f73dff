//! A card as the engine uses it: [`Driver`] on the vendor's libraries.
//!
//! Kernels are compiled when they are first launched and looked up by name after that. What a graph cannot contain is refused while work is
//! captured for one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys as cu;

use super::super::driver::{
    Address, Captured, Driver, DriverError, Grid, Kernel, Product, Result, Value,
};
use super::cache::Cache;
use super::cards::Facts;
use super::compile::{architecture, machine_code};
use super::failure::unusable;
use super::functions::{CublasLt, Cuda, Nvrtc};
use super::libraries::Loaded;
use super::products::Products;
use super::staging::Staging;
use super::stream::Stream;

/// Dynamic shared memory that every kernel may have without asking, in bytes.
const SHARED: u32 = 48 << 10;

/// The libraries that a card uses.
#[derive(Clone, Copy)]
pub(super) struct Libraries {
    pub(super) driver: &'static Loaded<Cuda>,
    pub(super) compiler: &'static Loaded<Nvrtc>,
    /// Without it products are left to a kernel.
    pub(super) products: Option<&'static Loaded<CublasLt>>,
}

/// A card that was opened.
pub(super) struct Card {
    name: String,
    architecture: String,
    compiler: &'static Loaded<Nvrtc>,
    cache: Cache,
    modules: Mutex<HashMap<usize, LoadedModule>>,
    staging: Mutex<Staging>,
    products: Option<Mutex<Products>>,
    /// While work is captured: the blocks that were given back meanwhile.
    capturing: Mutex<Option<Vec<Address>>>,
    stream: Arc<Stream>,
}

/// Machine code on the card, with the kernels that were launched from it.
struct LoadedModule {
    handle: cu::CUmodule,
    functions: HashMap<String, Function>,
}

// SAFETY: handles of the driver's, which lets any thread use them.
unsafe impl Send for LoadedModule {}

/// A kernel on the card.
#[derive(Clone, Copy)]
struct Function {
    handle: cu::CUfunction,
    /// Dynamic shared memory that it may be launched with.
    shared: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Card {
    /// Opens a card.
    ///
    /// # Errors
    /// A sentence, if there is no room on it, if another program has it, or if no kernels can be compiled for it.
    pub(super) fn open(libraries: Libraries, card: &Facts) -> std::result::Result<Self, String> {
        let architecture = architecture(card.capability, libraries.compiler)?;
        let cuda = &libraries.driver.functions;
        let stream = Stream::new(cuda, card.device).map_err(|status| unusable(cuda, status))?;
        let opened = |e: DriverError| format!("{} cannot be opened: {e}.", card.name);
        let staging = Staging::new(Arc::clone(&stream)).map_err(opened)?;
        let products = libraries
            .products
            .map(|lt| Products::new(&lt.functions, Arc::clone(&stream)));
        let products = products.transpose().map_err(opened)?;
        Ok(Card {
            name: card.name.clone(),
            architecture,
            compiler: libraries.compiler,
            cache: Cache::of_user(),
            modules: Mutex::new(HashMap::new()),
            staging: Mutex::new(staging),
            products: products.map(Mutex::new),
            capturing: Mutex::new(None),
            stream,
        })
    }

    /// A kernel, compiled and loaded if it is not there yet, that may be launched with this much dynamic shared memory.
    fn function(&self, kernel: Kernel<'_>, shared: u32) -> Result<cu::CUfunction> {
        let mut modules = lock(&self.modules);
        // By address: comparing and hashing its text at every launch would cost more than the launch.
        let key = std::ptr::from_ref(kernel.module) as usize;
        let module = match modules.entry(key) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => place.insert(self.load(kernel)?),
        };
        let function = match module.functions.get_mut(kernel.name) {
            Some(function) => function,
            None => {
                let handle = self.stream.function(module.handle, &c_name(kernel.name))?;
                let function = Function {
                    handle,
                    shared: SHARED,
                };
                module
                    .functions
                    .entry(kernel.name.to_owned())
                    .or_insert(function)
            }
        };
        if shared > function.shared {
            self.stream
                .raise_shared(function.handle, kernel.name, shared)?;
            function.shared = shared;
        }
        Ok(function.handle)
    }

    fn load(&self, kernel: Kernel<'_>) -> Result<LoadedModule> {
        let module = kernel.module;
        let image = machine_code(self.compiler, &self.cache, module, &self.architecture);
        let image = image.map_err(|said| DriverError::Failed {
            what: format!("compiling {}.cu", module.name),
            said,
        })?;
        Ok(LoadedModule {
            handle: self.stream.load(module.name, &image)?,
            functions: HashMap::new(),
        })
    }

    /// Refuses what cannot be part of a graph.
    fn not_while_capturing(&self, what: &'static str) -> Result<()> {
        match *lock(&self.capturing) {
            None => Ok(()),
            Some(_) => Err(DriverError::NotCapturable { what }),
        }
    }
}

/// A name for C; kernels have none with a zero in it, and such a one is not found.
fn c_name(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

impl Driver for Card {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn memory(&self) -> Result<(usize, usize)> {
        self.stream.memory()
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.stream.allocate(bytes)
    }

    fn free(&self, at: Address) {
        if at == 0 {
            return;
        }
        match &mut *lock(&self.capturing) {
            // What was captured may use it, and the driver takes no memory back now.
            Some(given_back) => given_back.push(at),
            None => self.stream.free(at),
        }
    }

    fn upload(&self, to: Address, from: &[u8]) -> Result<()> {
        self.not_while_capturing("copying to the card")?;
        lock(&self.staging).upload(to, from)
    }

    fn download(&self, to: &mut [u8], from: Address) -> Result<()> {
        self.not_while_capturing("copying from the card")?;
        if to.is_empty() {
            return self.stream.synchronize();
        }
        lock(&self.staging).download(to, from)
    }

    fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.stream.copy(to, from, bytes)
    }

    fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.stream.clear(at, bytes)
    }

    unsafe fn launch(&self, kernel: Kernel<'_>, grid: Grid, arguments: &[Value]) -> Result<()> {
        // The driver refuses grids without blocks; there is nothing to do.
        if grid.blocks.contains(&0) || grid.threads == 0 {
            return Ok(());
        }
        let function = self.function(kernel, grid.shared)?;
        let pointers: Vec<*const c_void> = arguments.iter().map(|value| value.at).collect();
        // SAFETY: as the caller says.
        unsafe { self.stream.launch(function, kernel.name, grid, &pointers) }
    }

    unsafe fn product(&self, product: &Product) -> Result<bool> {
        let Product { m, n, k, batch, .. } = *product;
        if m == 0 || n == 0 || batch == 0 {
            return Ok(true);
        }
        match &self.products {
            // A sum of nothing is a kernel's: the library takes no sides of length 0.
            Some(products) if k > 0 => {
                // SAFETY: as the caller says.
                unsafe { lock(products).run(product) }
            }
            _ => Ok(false),
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.not_while_capturing("waiting for the card")?;
        self.stream.synchronize()
    }

    fn begin_capture(&self) -> Result<()> {
        let mut capturing = lock(&self.capturing);
        if capturing.is_some() {
            let what = "beginning to capture work";
            return Err(DriverError::NotCapturable { what });
        }
        self.stream.begin_capture()?;
        *capturing = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&self) -> Result<Box<dyn Captured>> {
        // Held to the end: what is freed by another thread must not wait for a stream that is still captured.
        let mut capturing = lock(&self.capturing);
        let Some(given_back) = capturing.take() else {
            return Err(DriverError::Failed {
                what: "ending a capture of work".to_owned(),
                said: "none was begun".to_owned(),
            });
        };
        let graph = self.stream.end_capture();
        for at in given_back {
            self.stream.free(at);
        }
        Ok(Box::new(graph?))
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        for (_, module) in lock(&self.modules).drain() {
            // SAFETY: the kernels went with the module's entry.
            unsafe { self.stream.unload(module.handle) };
        }
    }
}

#[cfg(test)]
mod tests;
