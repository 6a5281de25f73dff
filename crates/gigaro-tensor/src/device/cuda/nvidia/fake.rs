//! A driver that does on this thread's memory what a card's would do, as late as it may: work waits in a queue until somebody waits for it. So a
//! copy whose source is written to too early shows.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ptr::without_provenance_mut;
use std::sync::Arc;

use cudarc::driver::sys as cu;

use super::functions::{Cuda, Status};
use super::stream::Stream;

/// The most that this card has for one block.
pub(super) const MOST: usize = 1 << 30;

/// What was asked of the driver on this thread.
#[derive(Default)]
pub(super) struct State {
    blocks: HashMap<u64, Box<[u8]>>,
    queue: VecDeque<Work>,
    done: usize,
    marks: Vec<usize>,
    pub(super) capturing: bool,
    /// Kernels that were launched: name, blocks, threads, shared memory, the first argument.
    pub(super) launched: Vec<(String, [u32; 3], u32, u32, u64)>,
    /// How often graphs were launched.
    pub(super) graphs: usize,
    pub(super) modules: usize,
    pub(super) functions: Vec<String>,
    /// Limits of shared memory that were raised.
    pub(super) raised: Vec<c_int>,
    /// What copies to the card answer.
    pub(super) upload_status: Status,
    /// What the card answers where a graph is brought there.
    pub(super) graph_status: Status,
}

enum Work {
    Copy(*mut u8, *const u8, usize),
    Clear(*mut u8, usize),
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Looks at what was asked, or changes what is answered.
pub(super) fn with<R>(look: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(look)
}

impl State {
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn run_until(&mut self, position: usize) {
        while self.done < position {
            match self.queue.pop_front() {
                // SAFETY: the tests keep blocks until the work on them is done.
                Some(Work::Copy(to, from, bytes)) => unsafe { to.copy_from(from, bytes) },
                // SAFETY: as above.
                Some(Work::Clear(at, bytes)) => unsafe { at.write_bytes(0, bytes) },
                None => break,
            }
            self.done += 1;
        }
    }

    fn asked(&self) -> usize {
        self.done + self.queue.len()
    }
}

fn ask(work: Work) -> Status {
    with(|state| state.queue.push_back(work));
    0
}

unsafe extern "C" fn succeed_context(_: cu::CUcontext) -> Status {
    0
}
unsafe extern "C" fn succeed_device(_: cu::CUdevice) -> Status {
    0
}
unsafe extern "C" fn succeed_stream(_: cu::CUstream) -> Status {
    0
}
unsafe extern "C" fn retain(context: *mut cu::CUcontext, _: cu::CUdevice) -> Status {
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *context = without_provenance_mut(1) };
    0
}
unsafe extern "C" fn create(stream: *mut cu::CUstream, flags: c_uint) -> Status {
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *stream = without_provenance_mut(2) };
    // The default stream is not asked for.
    u32::from(flags != 1)
}
unsafe extern "C" fn synchronize(_: cu::CUstream) -> Status {
    with(|state| {
        let all = state.asked();
        state.run_until(all);
        // The driver refuses to wait for a stream that is captured.
        if state.capturing { 900 } else { 0 }
    })
}
unsafe extern "C" fn allocate(at: *mut u64, bytes: usize) -> Status {
    if bytes > MOST {
        return cu::CUresult::CUDA_ERROR_OUT_OF_MEMORY as Status;
    }
    let mut block = vec![0xAA_u8; bytes].into_boxed_slice();
    let address = block.as_mut_ptr() as u64;
    with(|state| state.blocks.insert(address, block));
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *at = address };
    u32::from(bytes == 0)
}
unsafe extern "C" fn free(at: u64) -> Status {
    with(|state| u32::from(state.capturing || state.blocks.remove(&at).is_none()))
}
unsafe extern "C" fn allocate_pinned(at: *mut *mut c_void, bytes: usize, _: c_uint) -> Status {
    let mut address = 0;
    // SAFETY: the caller passes what the driver's declaration says.
    let status = unsafe { allocate(&mut address, bytes) };
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *at = address as *mut c_void };
    status
}
unsafe extern "C" fn free_pinned(at: *mut c_void) -> Status {
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { free(at as u64) }
}
unsafe extern "C" fn copy_in(
    to: u64,
    from: *const c_void,
    bytes: usize,
    _: cu::CUstream,
) -> Status {
    match with(|state| state.upload_status) {
        0 => ask(Work::Copy(to as *mut u8, from.cast(), bytes)),
        status => status,
    }
}
unsafe extern "C" fn copy_out(to: *mut c_void, from: u64, bytes: usize, _: cu::CUstream) -> Status {
    ask(Work::Copy(to.cast(), from as *const u8, bytes))
}
unsafe extern "C" fn copy(to: u64, from: u64, bytes: usize, _: cu::CUstream) -> Status {
    ask(Work::Copy(to as *mut u8, from as *const u8, bytes))
}
unsafe extern "C" fn set(at: u64, _: u8, bytes: usize, _: cu::CUstream) -> Status {
    ask(Work::Clear(at as *mut u8, bytes))
}
unsafe extern "C" fn event_create(event: *mut cu::CUevent, _: c_uint) -> Status {
    let number = with(|state| {
        state.marks.push(0);
        state.marks.len()
    });
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *event = without_provenance_mut(number) };
    0
}
unsafe extern "C" fn event_record(event: cu::CUevent, _: cu::CUstream) -> Status {
    with(|state| state.marks[event as usize - 1] = state.asked());
    0
}
unsafe extern "C" fn event_synchronize(event: cu::CUevent) -> Status {
    with(|state| state.run_until(state.marks[event as usize - 1]));
    0
}
unsafe extern "C" fn event_destroy(_: cu::CUevent) -> Status {
    0
}
unsafe extern "C" fn load(module: *mut cu::CUmodule, _: *const c_void) -> Status {
    let number = with(|state| {
        state.modules += 1;
        state.modules
    });
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *module = without_provenance_mut(number) };
    0
}
unsafe extern "C" fn unload(_: cu::CUmodule) -> Status {
    0
}
unsafe extern "C" fn function(
    function: *mut cu::CUfunction,
    _: cu::CUmodule,
    name: *const c_char,
) -> Status {
    // SAFETY: the caller passes what the driver's declaration says.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap().to_owned();
    if name == "missing" {
        return cu::CUresult::CUDA_ERROR_NOT_FOUND as Status;
    }
    let number = with(|state| {
        state.functions.push(name);
        state.functions.len()
    });
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *function = without_provenance_mut(number) };
    0
}
unsafe extern "C" fn attribute(
    _: cu::CUfunction,
    _: cu::CUfunction_attribute,
    value: c_int,
) -> Status {
    with(|state| state.raised.push(value));
    0
}
unsafe extern "C" fn launch(
    function: cu::CUfunction,
    x: c_uint,
    y: c_uint,
    z: c_uint,
    threads: c_uint,
    _: c_uint,
    _: c_uint,
    shared: c_uint,
    _: cu::CUstream,
    arguments: *mut *mut c_void,
    _: *mut *mut c_void,
) -> Status {
    // SAFETY: the caller passes what the driver's declaration says.
    let first = unsafe { *(*arguments).cast::<u64>() };
    with(|state| {
        let name = state.functions[function as usize - 1].clone();
        state
            .launched
            .push((name, [x, y, z], threads, shared, first));
    });
    0
}
unsafe extern "C" fn begin(_: cu::CUstream, _: cu::CUstreamCaptureMode) -> Status {
    with(|state| state.capturing = true);
    0
}
unsafe extern "C" fn end(_: cu::CUstream, graph: *mut cu::CUgraph) -> Status {
    with(|state| state.capturing = false);
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *graph = without_provenance_mut(7) };
    0
}
unsafe extern "C" fn instantiate(
    executable: *mut cu::CUgraphExec,
    _: cu::CUgraph,
    _: c_ulonglong,
) -> Status {
    // SAFETY: the caller passes what the driver's declaration says.
    unsafe { *executable = without_provenance_mut(8) };
    0
}
unsafe extern "C" fn graph_upload(_: cu::CUgraphExec, _: cu::CUstream) -> Status {
    with(|state| state.graph_status)
}
unsafe extern "C" fn graph_launch(_: cu::CUgraphExec, _: cu::CUstream) -> Status {
    with(|state| state.graphs += 1);
    0
}
unsafe extern "C" fn graph_destroy(_: cu::CUgraph) -> Status {
    0
}
unsafe extern "C" fn executable_destroy(_: cu::CUgraphExec) -> Status {
    0
}

/// A stream of a card of this kind, as this thread sees it.
pub(super) fn stream() -> Arc<Stream> {
    let cuda = Cuda {
        cuDevicePrimaryCtxRetain: retain,
        cuDevicePrimaryCtxRelease_v2: succeed_device,
        cuCtxSetCurrent: succeed_context,
        cuStreamCreate: create,
        cuStreamDestroy_v2: succeed_stream,
        cuStreamSynchronize: synchronize,
        cuStreamBeginCapture_v2: begin,
        cuStreamEndCapture: end,
        cuGraphInstantiateWithFlags: instantiate,
        cuGraphUpload: graph_upload,
        cuGraphLaunch: graph_launch,
        cuGraphDestroy: graph_destroy,
        cuGraphExecDestroy: executable_destroy,
        cuEventCreate: event_create,
        cuEventRecord: event_record,
        cuEventSynchronize: event_synchronize,
        cuEventDestroy_v2: event_destroy,
        cuMemAlloc_v2: allocate,
        cuMemFree_v2: free,
        cuMemHostAlloc: allocate_pinned,
        cuMemFreeHost: free_pinned,
        cuMemcpyHtoDAsync_v2: copy_in,
        cuMemcpyDtoHAsync_v2: copy_out,
        cuMemcpyDtoDAsync_v2: copy,
        cuMemsetD8Async: set,
        cuModuleLoadData: load,
        cuModuleUnload: unload,
        cuModuleGetFunction: function,
        cuFuncSetAttribute: attribute,
        cuLaunchKernel: launch,
        ..Cuda::refusing()
    };
    Stream::new(Box::leak(Box::new(cuda)), 0).unwrap()
}
