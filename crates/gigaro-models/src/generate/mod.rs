//! Text generation: from the logits of a model to the words a reader sees.
//!
//! What happens to one token, in order, with the file that does it:
//!
//! 1. [`SamplingParams`] (`params.rs`) is what a caller asks for, checked before the first token.
//! 2. [`Sampler`] (`sampler.rs`, `softmax_draw.rs`) turns logits `(V)` into a token and its log-probability ([`logprobs`]), among those that a [`TokenMask`]
//!    (`mask.rs`) allows where the reply is held to a grammar.
//! 3. [`StopMatcher`] (`stop.rs`) cuts the bytes of the reply at a stop string, across token borders.
//! 4. [`Utf8Stream`] (`utf8.rs`) releases only whole characters.
//! 5. [`ReplyText`] (`reply.rs`) joins 3 and 4 and says why a reply ended.
//! 6. [`reply`](fn@reply) (`decoder.rs`) runs a model through 2 to 5 for one request, [`generate_batch`] (`batch.rs`) for many at
//!    once; [`Draft`] (`draft.rs`) is what they share, also with a server.
//!
//! [`token_logprobs`] (`drawn.rs`) is the bridge to reinforcement learning: the same numbers for the engine that draws and for training.
//!
//! Apart from `decoder.rs` and `batch.rs` nothing here knows a model, and nothing knows HTTP or the terminal: the sampler reads a slice of `f32` and one uniform number,
//! so that a reply depends on its own request alone and never on who else is in the batch.

mod batch;
mod decoder;
mod draft;
mod drawn;
pub mod logprobs;
mod mask;
mod params;
mod reply;
mod sampler;
mod softmax_draw;
mod stop;
mod utf8;

pub use batch::{BatchRequest, Completion, Watch, generate_batch, generate_batch_watched};
pub use decoder::{Reply, Vocabulary, reply};
pub use draft::{Draft, Taken};
pub use drawn::token_logprobs;
pub use logprobs::{TokenLogprob, TokenLogprobs};
pub use mask::TokenMask;
pub use params::{ParamsError, SamplingParams};
pub use reply::{FinishReason, ReplyText};
pub use sampler::{SampleError, Sampled, Sampler};
pub use stop::{StopMatcher, StopProgress};
pub use utf8::Utf8Stream;
