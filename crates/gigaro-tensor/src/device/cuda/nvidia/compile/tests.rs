//! Tests of the compiler that run wherever NVRTC is found, and of what needs none.
//!
//! `cargo xtask cuda` installs NVRTC and runs them; where it is not found they say that they were skipped, unless its folder was named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::device::cuda::nvidia::cache::Cache;
use crate::device::cuda::nvidia::libraries::compiler;
use crate::device::cuda::nvidia::report::{Usage, usages};
use crate::device::cuda::nvidia::search::{FOLDERS, entries};

/// Kinds of cards that every kernel must fit: the oldest, Hopper with its own instructions, Blackwell.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_100"];

const TWICE: Module = Module {
    name: "twice",
    source: "extern \"C\" __global__ void twice(float* x, int n) {\n\
             int i = blockIdx.x * blockDim.x + threadIdx.x;\n\
             if (i < n) x[i] *= 2.0f;\n}\n",
};

/// NVRTC, or a line that says what was skipped.
fn nvrtc_or_skip(test: &str) -> Option<&'static Loaded<Nvrtc>> {
    match compiler() {
        Ok(nvrtc) => Some(nvrtc),
        Err(sentence) => {
            assert!(std::env::var_os(FOLDERS).is_none(), "{sentence}");
            println!("skipped 1 test, {test}: {sentence}");
            None
        }
    }
}

#[test]
fn a_module_is_compiled_once_and_a_damaged_copy_again() {
    let Some(nvrtc) = nvrtc_or_skip("a_module_is_compiled_once_and_a_damaged_copy_again") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::in_folder(folder.path());
    let image = machine_code(nvrtc, &cache, &TWICE, "sm_80").unwrap();
    assert_eq!(&image[..4], b"\x7fELF", "not machine code");
    let files = entries(folder.path());
    assert_eq!(files.len(), 1);
    // What is read comes from the file: another content under the same name comes back.
    let name = files[0].file_name().unwrap().to_str().unwrap();
    cache.write(name, b"kept");
    assert_eq!(
        machine_code(nvrtc, &cache, &TWICE, "sm_80").unwrap(),
        b"kept"
    );
    fs::write(&files[0], b"damaged").unwrap();
    assert_eq!(machine_code(nvrtc, &cache, &TWICE, "sm_80").unwrap(), image);
    let other = machine_code(nvrtc, &cache, &TWICE, "sm_90a").unwrap();
    assert_ne!(other, image);
    assert_eq!(entries(folder.path()).len(), 2);
}

#[test]
fn an_error_in_a_kernel_is_shown_with_its_line() {
    let Some(nvrtc) = nvrtc_or_skip("an_error_in_a_kernel_is_shown_with_its_line") else {
        return;
    };
    let wrong = "extern \"C\" __global__ void wrong(float* x) {\n    x[0] = missing;\n}\n";
    let refused = compile(&nvrtc.functions, "wrong", wrong, "sm_80", &[]);
    let sentence = refused.err().unwrap();
    assert!(sentence.contains("wrong.cu for sm_80"), "{sentence}");
    assert!(
        sentence.contains("wrong.cu(2)") && sentence.contains("missing"),
        "{sentence}"
    );
    let unknown = compile(&nvrtc.functions, "twice", TWICE.source, "sm_1", &[]);
    assert!(unknown.err().unwrap().contains("sm_1"));
    assert_eq!(architecture((8, 6), nvrtc), Ok("sm_86".to_owned()));
}

/// One line of the table: what a kernel uses on a kind of card.
type Line = (String, &'static str, Usage);

#[test]
fn every_kernel_fits_every_kind_of_card_without_spilling_registers() {
    let Some(nvrtc) =
        nvrtc_or_skip("every_kernel_fits_every_kind_of_card_without_spilling_registers")
    else {
        return;
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = vec![TWICE];
    modules.extend(kernel_files(&source).iter().map(|path| module_of(path)));
    let mut work: Vec<(&Module, &'static str)> = modules
        .iter()
        .flat_map(|module| ARCHITECTURES.map(|architecture| (module, architecture)))
        .collect();
    assert!(
        modules.len() > 20,
        "the kernels were not found below {}",
        source.display()
    );
    let (mut lines, failures) = compile_all(nvrtc, &mut work);
    lines.sort();
    println!(
        "{:<24} {:<40} {:>8} {:>9} {:>6}",
        "module", "kernel", "card", "registers", "spills"
    );
    for (module, architecture, usage) in &lines {
        let Usage {
            kernel,
            registers,
            spilled,
        } = usage;
        println!("{module:<24} {kernel:<40} {architecture:>8} {registers:>9} {spilled:>6}");
    }
    println!("{} modules, {} kernels", modules.len(), lines.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let spilling: Vec<&Line> = lines
        .iter()
        .filter(|(_, _, usage)| usage.spilled > 0)
        .collect();
    assert!(
        spilling.is_empty(),
        "registers are spilled to memory: {spilling:#?}"
    );
    let without: Vec<&str> = modules
        .iter()
        .map(|module| module.name)
        .filter(|name| !lines.iter().any(|(module, ..)| module == name))
        .collect();
    assert!(without.is_empty(), "modules without a kernel: {without:?}");
}

/// Compiles on all threads of the machine; the lines of the table, and the sentences of what failed.
fn compile_all(
    nvrtc: &Loaded<Nvrtc>,
    work: &mut Vec<(&Module, &'static str)>,
) -> (Vec<Line>, Vec<String>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (work, done) = (Mutex::new(work), Mutex::new((Vec::new(), Vec::new())));
    let next = || work.lock().unwrap().pop();
    let compile_some = || {
        while let Some((module, architecture)) = next() {
            let compiled = compile(
                &nvrtc.functions,
                module.name,
                &module.text(),
                architecture,
                &[REPORT],
            );
            let mut done = done.lock().unwrap();
            match compiled {
                Ok(Compiled { log, .. }) => {
                    let used = usages(&log).into_iter();
                    done.0
                        .extend(used.map(|usage| (module.name.to_owned(), architecture, usage)));
                }
                Err(sentence) => done.1.push(sentence),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(compile_some);
        }
    });
    done.into_inner().unwrap()
}

/// The `.cu` files of the ops.
fn kernel_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            found.extend(kernel_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "cu") {
            found.push(path);
        }
    }
    found
}

/// The module that an op has made of a file; its text lives as long as the program.
fn module_of(path: &Path) -> Module {
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    Module {
        name: name.leak(),
        source: fs::read_to_string(path).unwrap().leak(),
    }
}

#[test]
fn a_card_gets_the_newest_code_of_its_generation_that_is_known() {
    let known = [75, 80, 86, 87, 89, 90, 100, 103, 120];
    let of = |capability| choose(capability, &known);
    assert_eq!(of((8, 0)).as_deref(), Some("sm_80"));
    assert_eq!(of((8, 8)).as_deref(), Some("sm_87"));
    assert_eq!(of((9, 0)).as_deref(), Some("sm_90a"));
    assert_eq!(of((10, 0)).as_deref(), Some("sm_100"));
    assert_eq!(of((12, 1)).as_deref(), Some("sm_120"));
    assert_eq!(of((13, 0)), None);
}

#[test]
fn cards_before_ampere_are_refused() {
    assert_eq!(new_enough((8, 0)), Ok(()));
    assert_eq!(new_enough((12, 0)), Ok(()));
    let sentence = new_enough((7, 5)).unwrap_err();
    assert!(
        sentence.contains("7.5") && sentence.contains("8.0"),
        "{sentence}"
    );
}
