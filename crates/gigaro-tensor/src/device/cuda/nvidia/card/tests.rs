//! A card on a driver that only seems to be one.

use std::ffi::{c_char, c_int};
use std::path::PathBuf;
use std::ptr::{from_ref, without_provenance_mut};

use cudarc::nvrtc::sys::nvrtcProgram;

use super::*;
use crate::device::cuda::Module;
use crate::device::cuda::nvidia::fake;
use crate::device::cuda::nvidia::functions::Status;

static MODULE: Module = Module {
    name: "some",
    source: "kernels",
};

unsafe extern "C" fn program(
    program: *mut nvrtcProgram,
    _: *const c_char,
    _: *const c_char,
    _: c_int,
    _: *const *const c_char,
    _: *const *const c_char,
) -> Status {
    // SAFETY: the caller passes a place for the handle.
    unsafe { *program = without_provenance_mut(1) };
    0
}
unsafe extern "C" fn compile(_: nvrtcProgram, _: c_int, _: *const *const c_char) -> Status {
    0
}
unsafe extern "C" fn size(_: nvrtcProgram, bytes: *mut usize) -> Status {
    // SAFETY: the caller passes a place for the number.
    unsafe { *bytes = 4 };
    0
}
unsafe extern "C" fn image(_: nvrtcProgram, image: *mut c_char) -> Status {
    // SAFETY: the caller passes room for as many bytes as it was told.
    unsafe { image.write_bytes(1, 4) };
    0
}

/// A card whose compiler does or does not work, and the folder of its cache.
fn card(compiles: bool) -> (Card, tempfile::TempDir) {
    let mut functions = Nvrtc::refusing();
    if compiles {
        functions = Nvrtc {
            nvrtcCreateProgram: program,
            nvrtcCompileProgram: compile,
            nvrtcGetCUBINSize: size,
            nvrtcGetCUBIN: image,
            ..functions
        };
    }
    let compiler = Loaded {
        functions,
        path: PathBuf::new(),
        version: "13.0".to_owned(),
    };
    let (stream, folder) = (fake::stream(), tempfile::tempdir().unwrap());
    let card = Card {
        name: "a card".to_owned(),
        architecture: "sm_90a".to_owned(),
        compiler: Box::leak(Box::new(compiler)),
        cache: Cache::in_folder(folder.path()),
        modules: Mutex::default(),
        staging: Mutex::new(Staging::new(Arc::clone(&stream)).unwrap()),
        products: None,
        capturing: Mutex::new(None),
        stream,
    };
    (card, folder)
}

fn launch(card: &Card, name: &str, blocks: [u32; 3], shared: u32, argument: u64) -> Result<()> {
    let kernel = Kernel {
        module: &MODULE,
        name,
    };
    let grid = Grid {
        blocks,
        threads: 128,
        shared,
    };
    // SAFETY: the driver that seems to be one looks at the first argument and runs nothing.
    unsafe {
        let at = from_ref(&argument).cast();
        card.launch(kernel, grid, &[Value { at, bytes: 8 }])
    }
}

fn said(refused: Result<()>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn kernels_are_loaded_and_looked_up_once_and_launched_as_they_were_asked_for() {
    let (card, folder) = card(true);
    launch(&card, "a", [3, 2, 1], 0, 11).unwrap();
    launch(&card, "b", [1, 1, 1], SHARED, 12).unwrap();
    launch(&card, "a", [1, 1, 1], SHARED + 1, 13).unwrap();
    launch(&card, "a", [1, 1, 1], SHARED + 1, 14).unwrap();
    launch(&card, "a", [0, 1, 1], 0, 15).unwrap();
    fake::with(|state| {
        assert_eq!(
            (state.modules, &*state.functions),
            (1, &["a".to_owned(), "b".to_owned()][..])
        );
        assert_eq!(state.raised, [SHARED as c_int + 1]);
        let launched: Vec<_> = state
            .launched
            .iter()
            .map(|l| (&*l.0, l.1, l.2, l.3, l.4))
            .collect();
        let one = [1, 1, 1];
        assert_eq!(
            launched,
            [
                ("a", [3, 2, 1], 128, 0, 11),
                ("b", one, 128, SHARED, 12),
                ("a", one, 128, SHARED + 1, 13),
                ("a", one, 128, SHARED + 1, 14),
            ]
        );
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let sentence = said(launch(&card, "missing", [1, 1, 1], 0, 0));
    assert!(
        sentence.contains("looking for the kernel missing"),
        "{sentence}"
    );
}

#[test]
fn a_kernel_that_does_not_compile_is_an_error_and_nothing_is_launched() {
    let (card, _folder) = card(false);
    let sentence = said(launch(&card, "a", [1, 1, 1], 0, 0));
    assert!(sentence.starts_with("compiling some.cu: "), "{sentence}");
    assert_eq!(fake::with(|state| state.launched.len()), 0);
}

#[test]
fn memory_is_copied_cleared_and_given_back_in_the_order_of_asking() {
    let (card, _folder) = card(true);
    let (a, b) = (card.allocate(8).unwrap(), card.allocate(8).unwrap());
    card.upload(a, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    card.copy(b, a, 8).unwrap();
    card.clear(b + 4, 2).unwrap();
    card.upload(a, &[0; 8]).unwrap();
    let mut got = [9; 8];
    card.download(&mut got, b).unwrap();
    assert_eq!(got, [1, 2, 3, 4, 0, 0, 7, 8]);
    // Nothing is nothing, wherever it lies.
    card.copy(0, 0, 0).unwrap();
    card.clear(0, 0).unwrap();
    card.free(0);
    let before = fake::with(|state| state.blocks());
    card.free(a);
    card.free(b);
    assert_eq!(fake::with(|state| state.blocks()), before - 2);
    drop(card);
    assert_eq!(fake::with(|state| state.blocks()), 0);
}

#[test]
fn while_work_is_captured_nothing_goes_to_or_from_the_card_and_memory_is_kept() {
    let (card, _folder) = card(true);
    assert!(card.end_capture().is_err());
    let block = card.allocate(8).unwrap();
    let blocks = fake::with(|state| state.blocks());
    card.begin_capture().unwrap();
    for refused in [
        card.upload(block, &[0; 8]),
        card.download(&mut [0; 8], block),
        card.synchronize(),
        card.begin_capture(),
    ] {
        assert!(said(refused).contains("cannot be repeated by a graph"));
    }
    launch(&card, "a", [1, 1, 1], 0, 1).unwrap();
    card.free(block);
    assert_eq!(fake::with(|state| state.blocks()), blocks);
    let graph = card.end_capture().unwrap();
    assert_eq!(fake::with(|state| state.blocks()), blocks - 1);
    // SAFETY: the driver that seems to be one runs nothing.
    unsafe { graph.launch() }.unwrap();
    assert_eq!(fake::with(|state| state.graphs), 1);
    card.synchronize().unwrap();
    // A card that has no room for a graph says so when it is made, and goes on without.
    card.begin_capture().unwrap();
    let full = cu::CUresult::CUDA_ERROR_OUT_OF_MEMORY as Status;
    fake::with(|state| state.graph_status = full);
    assert!(matches!(
        card.end_capture(),
        Err(DriverError::OutOfMemory { .. })
    ));
    card.synchronize().unwrap();
}
