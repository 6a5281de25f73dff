//! Running a check on many cases, and telling all that went wrong at once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Case, Op};
use crate::DeviceFailure;

/// Runs `check` on every case of some ops, with the name of the case.
///
/// # Panics
/// With all failures, if there are any.
pub fn for_every_case<'a>(ops: impl IntoIterator<Item = &'a Op>, check: impl Fn(&Op, &str, &Case)) {
    let mut failures = Vec::new();
    for op in ops {
        for (i, case) in (op.cases)().iter().enumerate() {
            let name = format!("{} (case {i})", op.name);
            let outcome = catch_unwind(AssertUnwindSafe(|| check(op, &name, case)));
            if let Err(payload) = outcome {
                failures.push(format!("{name}: {}", panic_text(&*payload)));
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

/// What a caught panic or the failure of a device says.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(failure) = payload.downcast_ref::<DeviceFailure>() {
        return failure.to_string();
    }
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|&s| s.to_owned()))
        .unwrap_or_else(|| "panicked".to_owned())
}
