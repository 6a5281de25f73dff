//! A card's context and the one stream of work on it: the driver's calls with their errors, and nothing that remembers.
//!
//! The context is the device's primary one, which cuBLASLt uses too. The stream is not the default one: that waits for all others, and cannot be
//! captured. A context belongs to a thread, so every call makes it the current one first; that costs tens of nanoseconds.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::driver::sys as cu;

use super::super::driver::{Address, Captured, DriverError, Grid, Result};
use super::failure::failed;
use super::functions::{Cuda, Status};

/// A context with its stream.
pub(super) struct Stream {
    cuda: &'static Cuda,
    device: cu::CUdevice,
    context: cu::CUcontext,
    stream: cu::CUstream,
}

// SAFETY: the handles are the driver's, which lets any thread use them; each call makes the context the thread's own first.
unsafe impl Send for Stream {}
// SAFETY: as above; the driver orders calls that come at once.
unsafe impl Sync for Stream {}

/// A mark in the stream, for waiting until all before it has happened.
pub(super) struct Mark(cu::CUevent);

// SAFETY: a handle of the driver's, which lets any thread use it.
unsafe impl Send for Mark {}

impl Stream {
    /// The primary context of a device, and a stream in it.
    pub(super) fn new(
        cuda: &'static Cuda,
        device: cu::CUdevice,
    ) -> std::result::Result<Arc<Self>, Status> {
        let answer = |status: Status| if status == 0 { Ok(()) } else { Err(status) };
        let mut context = null_mut();
        // SAFETY: the device exists; the context is written to a place of its type.
        answer(unsafe { (cuda.cuDevicePrimaryCtxRetain)(&mut context, device) })?;
        let mut this = Stream {
            cuda,
            device,
            context,
            stream: null_mut(),
        };
        // SAFETY: the context was just retained, and is released when `this` is dropped.
        answer(unsafe { (cuda.cuCtxSetCurrent)(context) })?;
        let flags = cu::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the stream is written to a place of its type, in the current context.
        answer(unsafe { (cuda.cuStreamCreate)(&mut this.stream, flags) })?;
        Ok(Arc::new(this))
    }

    /// The handle, for libraries that put work into the stream.
    pub(super) fn handle(&self) -> cu::CUstream {
        self.stream
    }

    fn check(&self, status: Status, what: impl FnOnce() -> String) -> Result<()> {
        if status == 0 {
            Ok(())
        } else {
            Err(failed(self.cuda, status, what()))
        }
    }

    /// Makes the context that of the calling thread.
    pub(super) fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained as long as `self` lives.
        let status = unsafe { (self.cuda.cuCtxSetCurrent)(self.context) };
        self.check(status, || "using the card from this thread".to_owned())
    }

    pub(super) fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        let status = unsafe { (self.cuda.cuStreamSynchronize)(self.stream) };
        self.check(status, || "waiting for the card".to_owned())
    }

    /// Bytes of memory: free, and in all.
    pub(super) fn memory(&self) -> Result<(usize, usize)> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: it writes two numbers.
        let status = unsafe { (self.cuda.cuMemGetInfo_v2)(&mut free, &mut total) };
        self.check(status, || "asking how much memory is free".to_owned())?;
        Ok((free, total))
    }

    /// Memory of the card; the driver aligns it to 256 bytes or more.
    pub(super) fn allocate(&self, bytes: usize) -> Result<Address> {
        self.bind()?;
        let mut at = 0;
        // No block of nothing: the driver refuses it.
        // SAFETY: the address is written to a place of its type.
        let status = unsafe { (self.cuda.cuMemAlloc_v2)(&mut at, bytes.max(1)) };
        if status == cu::CUresult::CUDA_ERROR_OUT_OF_MEMORY as Status {
            return Err(DriverError::OutOfMemory { bytes });
        }
        self.check(status, || format!("allocating {bytes} bytes"))?;
        Ok(at)
    }

    /// Gives memory back after all that was asked for has happened. A lost card has nothing to give back, so errors are not looked at.
    pub(super) fn free(&self, at: Address) {
        if self.synchronize().is_ok() {
            // SAFETY: nothing is left in the stream that uses it, and the owner has given it up.
            unsafe { (self.cuda.cuMemFree_v2)(at) };
        }
    }

    /// Memory of the machine that the card copies from and to by itself.
    pub(super) fn allocate_pinned(&self, bytes: usize) -> Result<*mut u8> {
        self.bind()?;
        let mut at = null_mut();
        // SAFETY: the address is written to a place of its type.
        let status = unsafe { (self.cuda.cuMemHostAlloc)(&mut at, bytes, 0) };
        self.check(status, || {
            format!("allocating {bytes} bytes of the machine's memory for copies")
        })?;
        Ok(at.cast())
    }

    /// # Safety
    /// It came from [`allocate_pinned`](Self::allocate_pinned), and nobody uses it any more.
    pub(super) unsafe fn free_pinned(&self, at: *mut u8) {
        if self.synchronize().is_ok() {
            // SAFETY: as the caller says; nothing is left in the stream that uses it.
            unsafe { (self.cuda.cuMemFreeHost)(at.cast()) };
        }
    }

    /// # Safety
    /// Both are that large, and what is at `from` stays until the copy has happened.
    pub(super) unsafe fn copy_in(&self, to: Address, from: *const u8, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: as the caller says.
        let status =
            unsafe { (self.cuda.cuMemcpyHtoDAsync_v2)(to, from.cast(), bytes, self.stream) };
        self.check(status, || format!("copying {bytes} bytes to the card"))
    }

    /// # Safety
    /// Both are that large, and nobody reads or writes at `to` until the copy has happened.
    pub(super) unsafe fn copy_out(&self, to: *mut u8, from: Address, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: as the caller says.
        let status =
            unsafe { (self.cuda.cuMemcpyDtoHAsync_v2)(to.cast(), from, bytes, self.stream) };
        self.check(status, || format!("copying {bytes} bytes from the card"))
    }

    pub(super) fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: addresses of the card, which refuses those that are not allocated.
        let status = unsafe { (self.cuda.cuMemcpyDtoDAsync_v2)(to, from, bytes, self.stream) };
        self.check(status, || format!("copying {bytes} bytes on the card"))
    }

    pub(super) fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: an address of the card, which refuses those that are not allocated.
        let status = unsafe { (self.cuda.cuMemsetD8Async)(at, 0, bytes, self.stream) };
        self.check(status, || format!("clearing {bytes} bytes"))
    }

    /// A mark, not in the stream yet.
    pub(super) fn new_mark(&self) -> Result<Mark> {
        self.bind()?;
        let mut event = null_mut();
        let flags = cu::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: the event is written to a place of its type.
        let status = unsafe { (self.cuda.cuEventCreate)(&mut event, flags) };
        self.check(status, || "making a mark in the stream".to_owned())?;
        Ok(Mark(event))
    }

    /// Puts a mark behind all that was asked for.
    pub(super) fn set(&self, mark: &Mark) -> Result<()> {
        self.bind()?;
        // SAFETY: an event and a stream of this context.
        let status = unsafe { (self.cuda.cuEventRecord)(mark.0, self.stream) };
        self.check(status, || "setting a mark in the stream".to_owned())
    }

    /// Waits until the stream has come to a mark.
    pub(super) fn wait(&self, mark: &Mark) -> Result<()> {
        self.bind()?;
        // SAFETY: an event of this context.
        let status = unsafe { (self.cuda.cuEventSynchronize)(mark.0) };
        self.check(status, || "waiting for a copy".to_owned())
    }

    pub(super) fn remove(&self, mark: Mark) {
        if self.bind().is_ok() {
            // SAFETY: an event of this context; the driver keeps it until the stream has passed it.
            unsafe { (self.cuda.cuEventDestroy_v2)(mark.0) };
        }
    }

    /// Machine code, loaded onto the card for as long as the context lives.
    pub(super) fn load(&self, module: &str, image: &[u8]) -> Result<cu::CUmodule> {
        self.bind()?;
        let mut handle = null_mut();
        // SAFETY: a whole CUBIN, which carries its own length; the handle is written to a place of its type.
        let status = unsafe { (self.cuda.cuModuleLoadData)(&mut handle, image.as_ptr().cast()) };
        self.check(status, || format!("loading the kernels of {module}.cu"))?;
        Ok(handle)
    }

    /// # Safety
    /// No kernel of it is used any more.
    pub(super) unsafe fn unload(&self, module: cu::CUmodule) {
        if self.synchronize().is_ok() {
            // SAFETY: as the caller says; nothing is left in the stream that uses it.
            unsafe { (self.cuda.cuModuleUnload)(module) };
        }
    }

    /// A kernel of a loaded module.
    pub(super) fn function(&self, module: cu::CUmodule, name: &CStr) -> Result<cu::CUfunction> {
        self.bind()?;
        let mut handle = null_mut();
        // SAFETY: a module of this context, a string, and a place for the handle.
        let status = unsafe { (self.cuda.cuModuleGetFunction)(&mut handle, module, name.as_ptr()) };
        self.check(status, || {
            format!("looking for the kernel {}", name.to_string_lossy())
        })?;
        Ok(handle)
    }

    /// Lets a kernel be launched with this much dynamic shared memory, beyond the 48 KiB that every kernel may have.
    pub(super) fn raise_shared(
        &self,
        function: cu::CUfunction,
        name: &str,
        bytes: u32,
    ) -> Result<()> {
        self.bind()?;
        let attribute = cu::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let value = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        // SAFETY: a function of this context.
        let status = unsafe { (self.cuda.cuFuncSetAttribute)(function, attribute, value) };
        self.check(status, || {
            format!("giving the kernel {name} {bytes} bytes of shared memory, which may be more than a block of this card can have")
        })
    }

    /// # Safety
    /// The arguments are those of the kernel, and the addresses among them are of blocks as large as it reads and writes.
    pub(super) unsafe fn launch(
        &self,
        function: cu::CUfunction,
        name: &str,
        grid: Grid,
        arguments: &[*const c_void],
    ) -> Result<()> {
        self.bind()?;
        let [x, y, z] = grid.blocks;
        // The driver copies the values before it returns and writes to none of them.
        let arguments = arguments.as_ptr().cast_mut().cast::<*mut c_void>();
        // SAFETY: as the caller says.
        let status = unsafe {
            (self.cuda.cuLaunchKernel)(
                function,
                x,
                y,
                z,
                grid.threads,
                1,
                1,
                grid.shared,
                self.stream,
                arguments,
                null_mut(),
            )
        };
        self.check(status, || {
            let Grid { blocks, threads, shared } = grid;
            format!("launching {name} with {blocks:?} blocks of {threads} threads and {shared} bytes of shared memory")
        })
    }

    /// From here on work is captured for a graph and not done.
    pub(super) fn begin_capture(&self) -> Result<()> {
        self.bind()?;
        // Relaxed: other threads, and this one where a kernel is loaded for the first time, may go on allocating.
        let mode = cu::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as `self`.
        let status = unsafe { (self.cuda.cuStreamBeginCapture_v2)(self.stream, mode) };
        self.check(status, || "beginning to capture work".to_owned())
    }

    /// Ends the capture, also one that went wrong, and makes a graph of it.
    pub(super) fn end_capture(self: &Arc<Self>) -> Result<Graph> {
        self.bind()?;
        let mut captured = null_mut();
        // SAFETY: the graph is written to a place of its type; null if the capture went wrong.
        let status = unsafe { (self.cuda.cuStreamEndCapture)(self.stream, &mut captured) };
        self.check(status, || "ending a capture of work".to_owned())?;
        let mut executable = null_mut();
        // SAFETY: the graph was just made; the executable is written to a place of its type.
        let status =
            unsafe { (self.cuda.cuGraphInstantiateWithFlags)(&mut executable, captured, 0) };
        // SAFETY: the graph is used by nobody after this; the executable does not need it.
        unsafe { (self.cuda.cuGraphDestroy)(captured) };
        self.prepared(status)?;
        let graph = Graph {
            stream: Arc::clone(self),
            executable,
        };
        // Here, where it can still be done without: a launch would do it too, and then memory that is full would be the end.
        // SAFETY: an executable of this context, and its stream.
        self.prepared(unsafe { (self.cuda.cuGraphUpload)(executable, self.stream) })?;
        Ok(graph)
    }
}

impl Stream {
    /// The answer to a step of making a graph ready, for which a card needs memory.
    fn prepared(&self, status: Status) -> Result<()> {
        if status == cu::CUresult::CUDA_ERROR_OUT_OF_MEMORY as Status {
            return Err(DriverError::OutOfMemory { bytes: 0 });
        }
        self.check(status, || "preparing a graph".to_owned())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.bind().is_ok() && !self.stream.is_null() {
            // SAFETY: nobody has the stream any more; the driver lets it finish its work.
            unsafe { (self.cuda.cuStreamDestroy_v2)(self.stream) };
        }
        // SAFETY: it was retained once, in `new`.
        unsafe { (self.cuda.cuDevicePrimaryCtxRelease_v2)(self.device) };
    }
}

/// Captured work, which is launched as a whole: a decoding step or a training step costs one call instead of hundreds.
pub(super) struct Graph {
    stream: Arc<Stream>,
    executable: cu::CUgraphExec,
}

// SAFETY: a handle of the driver's, which lets any thread use it.
unsafe impl Send for Graph {}
// SAFETY: as above; launches that come at once are ordered by the stream.
unsafe impl Sync for Graph {}

impl Captured for Graph {
    unsafe fn launch(&self) -> Result<()> {
        let stream = &self.stream;
        stream.bind()?;
        // SAFETY: an executable of this context; as the caller says.
        let status = unsafe { (stream.cuda.cuGraphLaunch)(self.executable, stream.stream) };
        stream.check(status, || "launching a graph".to_owned())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.stream.bind().is_ok() {
            // SAFETY: nobody has it any more; the driver keeps it until a launch of it has ended.
            unsafe { (self.stream.cuda.cuGraphExecDestroy)(self.executable) };
        }
    }
}
