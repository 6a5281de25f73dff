//! Where a loss that is not finite comes from: the first part of the model whose output is not.
//!
//! Asked only after training has broken down, so it takes its time: one more forward pass, looked at part by part.

use gigaro_data::loader::Batch;
use gigaro_models::Gpt;
use gigaro_nn::Mode;
use gigaro_tensor::{DType, Tensor, no_grad};

/// The first part of `model`, in the order of the forward pass, that makes of `batch` a number that is none, under the name that its tensors
/// have in a checkpoint; `None` if all is finite without dropout.
///
/// Documents that share a row see each other here, which the loss keeps apart; weights that are broken break both.
pub(crate) fn first_broken_part(model: &Gpt, batch: &Batch) -> Option<String> {
    let learned = model.config.is_learned();
    let named = |x: &Tensor, learnt: &str, rotary: &str| {
        let name = if learned { learnt } else { rotary };
        (!is_finite(x)).then(|| name.to_owned())
    };
    no_grad(|| {
        let ids = Tensor::from_slice(&batch.ids, [batch.rows, batch.cols]);
        let mut x = model.wte.forward(&ids); // (B, T, C)
        if let Some(name) = named(&x, "transformer.wte", "model.embed_tokens") {
            return Some(name);
        }
        if let Some(wpe) = &model.wpe {
            x = x + wpe.weight.narrow(0, 0, batch.cols);
            if !is_finite(&x) {
                return Some("transformer.wpe".into());
            }
        }
        let rotary = model.rotary_tables(0, batch.cols);
        for (i, block) in model.blocks.iter().enumerate() {
            x = block.forward(&x, &ids, rotary.as_ref(), None, &Mode::Eval);
            let names = (format!("transformer.h.{i}"), format!("model.layers.{i}"));
            if let Some(name) = named(&x, &names.0, &names.1) {
                return Some(name);
            }
        }
        x = model.ln_f.forward(&x);
        if let Some(name) = named(&x, "transformer.ln_f", "model.norm") {
            return Some(name);
        }
        // A row at a time: the logits of all would take much memory.
        let row = |r: usize| model.logits(&x.narrow(0, r, 1));
        let broken = (0..batch.rows).any(|r| !is_finite(&row(r)));
        broken.then(|| "lm_head".to_owned())
    })
}

fn is_finite(x: &Tensor) -> bool {
    let numbers = x.to_dtype(DType::F32).to_vec::<f32>();
    numbers.iter().all(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_models::GptConfig;
    use gigaro_nn::Module;
    use gigaro_tensor::Generator;

    fn batch() -> Batch {
        Batch {
            ids: vec![1, 2, 3, 4, 5, 6, 7, 0],
            targets: vec![2, 3, 4, 5, 6, 7, 0, 1],
            segments: None,
            positions: None,
            rows: 2,
            cols: 4,
        }
    }

    #[test]
    fn the_first_part_with_a_broken_weight_is_named() {
        for config in [
            GptConfig::gpt2(13, 8, 3, 2, 16),
            GptConfig::modern(13, 8, 3, 2, 16),
        ] {
            let fresh = || Gpt::new(&config, &Generator::new(1));
            assert_eq!(first_broken_part(&fresh(), &batch()), None);
            let names: Vec<String> = fresh()
                .named_parameters()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            for name in names {
                let model = fresh();
                for (other, parameter) in model.named_parameters() {
                    if other == name {
                        let nan = Tensor::full(
                            parameter.shape().to_vec(),
                            f64::NAN,
                            DType::F32,
                            parameter.device(),
                        );
                        no_grad(|| parameter.copy_(&nan));
                    }
                }
                let part = first_broken_part(&model, &batch()).expect("a broken part");
                assert!(name.starts_with(&part), "{name}: {part}");
            }
        }
    }
}
