//! Every op of the registry through every check.

use gigaro_tensor::testing::{
    Gradient, Kind, check_composite, check_dtypes, check_gradient, check_layouts,
    check_second_gradient, check_threads, registry,
};

/// Runs `check` on every case of every op and reports all failures at once.
fn for_every_case(
    check: impl Fn(&str, &gigaro_tensor::testing::Case) + std::panic::RefUnwindSafe,
    with_gradient: bool,
) {
    let mut failures = Vec::new();
    for op in registry() {
        if with_gradient && op.gradient != Gradient::Yes {
            continue;
        }
        for (i, case) in (op.cases)().iter().enumerate() {
            let name = format!("{} (case {i})", op.name);
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&name, case)));
            if let Err(payload) = outcome {
                let text = payload.downcast_ref::<String>().cloned();
                failures.push(text.unwrap_or_else(|| format!("{name}: panicked")));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_dtype_and_instruction_set_agrees_with_f64() {
    for_every_case(check_dtypes, false);
}

#[test]
fn every_gradient_matches_differences_and_its_composite() {
    for_every_case(check_gradient, true);
}

#[test]
fn every_second_derivative_matches_differences() {
    for_every_case(check_second_gradient, true);
}

#[test]
fn awkward_layouts_change_nothing() {
    for_every_case(check_layouts, false);
}

#[test]
fn fused_kernels_agree_with_their_composites() {
    for_every_case(check_composite, true);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for_every_case(check_threads, false);
}

#[test]
fn every_op_has_cases_a_file_and_a_gradient_or_a_reason() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
    let mut names = std::collections::BTreeSet::new();
    for op in registry() {
        assert!(names.insert(op.name), "{} is listed twice", op.name);
        assert!(!(op.cases)().is_empty(), "{} has no case", op.name);
        let file = root.join(op.file);
        let source = std::fs::read_to_string(&file)
            .unwrap_or_else(|e| panic!("{}: {}: {e}", op.name, file.display()));
        assert!(
            source.contains(op.name),
            "{} is not in {}",
            op.name,
            op.file
        );
        match op.gradient {
            Gradient::Yes => {}
            Gradient::None(reason) => assert!(reason.len() > 10, "{} gives no reason", op.name),
        }
        assert!(
            op.kind != Kind::Primitive || op.file.ends_with("mod.rs"),
            "{} is a primitive without a folder",
            op.name
        );
    }
}
