//! A GPT that learns one sentence by heart, letter by letter, in a second.
//!
//! Shows a model, an optimiser with clipping, and greedy decoding written out. Real runs go through the command
//! (`gigaro speedrun`), which adds tokenizers, loaders, checkpoints and a sampler.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use gigaro::models::gpt::{Gpt, GptConfig};
use gigaro::nn::optim::{AdamOptions, AdamW};
use gigaro::nn::{Mode, Module, Optimizer, clip};
use gigaro::tensor::{Generator, Tensor, no_grad};

const TEXT: &str = "the road goes from text to an assistant, one step after the other. ";

fn main() {
    let letters: Vec<i64> = TEXT.bytes().map(i64::from).collect();
    let length = letters.len() - 1;
    let ids = Tensor::from_slice(&letters[..length], [1, length]); // (B, T)
    let targets = Tensor::from_slice(&letters[1..], [1, length]); // (B, T)

    // Vocabulary of all ASCII codes, context, layers, heads, width.
    let gpt = Gpt::new(
        &GptConfig::gpt2(128, letters.len(), 2, 2, 64),
        &Generator::new(7),
    );
    let mut optimizer = AdamW::new(gpt.param_groups(0.1), AdamOptions::default());
    for step in 0..=100 {
        let loss = gpt.loss(&ids, &targets, &Mode::Eval);
        loss.backward();
        let norm = clip::grad_norm(&gpt.named_parameters());
        optimizer.step(3e-3, clip::clip_scale(norm, 1.0));
        optimizer.zero_grad();
        if step % 25 == 0 {
            println!("step {step:3}  loss {:.4}", loss.item());
        }
    }

    let mut written = letters[..4].to_vec();
    while written.len() < length {
        let context = Tensor::from_slice(&written, [1, written.len()]);
        let logits = no_grad(|| gpt.forward(&context, &Mode::Eval)); // (1, T, V)
        let last = logits.select(1, written.len() - 1);
        written.extend(last.argmax(-1).to_vec::<i64>());
    }
    let text: String = written
        .iter()
        .filter_map(|&c| u8::try_from(c).ok())
        .map(char::from)
        .collect();
    println!("{text}");
}
