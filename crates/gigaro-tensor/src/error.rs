//! What can go wrong outside the program: each a sentence that says what, where and what to do.

/// An error of the engine's dealings with files and devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A weights file is damaged or of another kind.
    #[error("{path}: not a readable safetensors file ({reason}); fetch or write it again")]
    Safetensors {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A GGUF file is damaged, of another kind, or holds what is not supported.
    #[error("{path}: not a usable GGUF file ({reason}); if it should be one, fetch it again")]
    Gguf {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A device cannot be used.
    #[error("{device} cannot be used: {reason}")]
    Device {
        /// The device.
        device: crate::Device,
        /// Why, and what to do.
        reason: String,
    },
}
