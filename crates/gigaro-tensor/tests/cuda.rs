//! Every op of the registry on an emulated card: the text of its kernels, compiled by g++.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gigaro_tensor::testing::{CPU_ONLY, Gradient, check_device, registry};
use gigaro_tensor::{DeviceFailure, cuda};

/// What a caught panic or failure says.
fn said(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(failure) = payload.downcast_ref::<DeviceFailure>() {
        return failure.to_string();
    }
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|&s| s.to_owned()))
        .unwrap_or_else(|| "panicked".to_owned())
}

#[test]
fn every_op_agrees_with_the_processor() {
    let device = cuda::open_emulated(900).expect("an emulated card");
    let only = std::env::var("OP").ok();
    let mut failures = Vec::new();
    for op in registry() {
        if CPU_ONLY.iter().any(|(name, _)| *name == op.name) || only.as_ref().is_some_and(|o| o != op.name) {
            continue;
        }
        for (i, case) in (op.cases)().iter().enumerate() {
            let name = format!("{} (case {i})", op.name);
            let check = || check_device(&name, case, device, op.gradient == Gradient::Yes);
            if let Err(payload) = catch_unwind(AssertUnwindSafe(check)) {
                failures.push(format!("{name}: {}", said(&*payload)));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
