//! Who may change what is served: the one place that decides it.

use super::app::{Access, App};
use super::auth::Caller;
use crate::api::ApiError;

/// Lets through whoever may administer the server: keys with the scope for it (which `gate.rs` has looked at by the address), and programs
/// on this machine where only they can reach it.
///
/// # Errors
/// 403 for everybody else.
pub(crate) fn may_administer(app: &App, _: &Caller) -> Result<(), ApiError> {
    match app.access() {
        Access::Keys(_) | Access::LoopbackOnly => Ok(()),
        Access::Anyone => Err(ApiError::forbidden(
            "this server lets in everybody, so nobody may change it from outside: start it with --api-key-file",
        )),
    }
}
