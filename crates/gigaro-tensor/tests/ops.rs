//! Every op of the registry through every check.

use gigaro_tensor::testing::{
    Case, Gradient, Kind, check_composite, check_dtypes, check_gradient, check_layouts,
    check_second_gradient, check_threads, for_every_case, registry,
};

/// Runs `check` on every case of every op.
fn check_all(check: fn(&str, &Case)) {
    for_every_case(&registry(), |_, name, case| check(name, case));
}

/// Runs `check` on every case of the ops that gradients flow through.
fn check_gradients(check: fn(&str, &Case)) {
    let mut ops = registry();
    ops.retain(|op| op.gradient == Gradient::Yes);
    for_every_case(&ops, |_, name, case| check(name, case));
}

#[test]
fn every_dtype_and_instruction_set_agrees_with_f64() {
    check_all(check_dtypes);
}

#[test]
fn every_gradient_matches_differences_and_its_composite() {
    check_gradients(check_gradient);
}

#[test]
fn every_second_derivative_matches_differences() {
    check_gradients(check_second_gradient);
}

#[test]
fn awkward_layouts_change_nothing() {
    check_all(check_layouts);
}

#[test]
fn fused_kernels_agree_with_their_composites() {
    check_gradients(check_composite);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    check_all(check_threads);
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
