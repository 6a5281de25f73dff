//! What decoding promises: the bits of the training forward pass, in pieces, in rows, in any company.

use super::*;
use crate::gpt::WeightFormat;
use crate::{Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_tensor::cpu::isa;
use gigaro_tensor::{Device, Generator, autocast};

/// GPT-2's form, the modern one, and the modern one with grouped key-value heads.
fn models() -> Vec<Gpt> {
    let gpt2 = GptConfig::gpt2(97, 96, 2, 4, 32);
    let modern = GptConfig::modern(97, 96, 2, 4, 32);
    let grouped = GptConfig {
        n_kv_head: 2,
        ..modern.clone()
    };
    [gpt2, modern, grouped]
        .iter()
        .map(|c| randomised(Gpt::new(c, &Generator::new(3))))
        .collect()
}

/// Fresh modern weights have zero output projections, which would hide everything.
fn randomised(model: Gpt) -> Gpt {
    let g = Generator::new(8);
    no_grad(|| {
        for (_, p) in model.named_parameters() {
            p.add_(&(Tensor::randn(p.shape(), DType::F32, Device::Cpu, &g) * 0.1));
        }
    });
    model
}

fn text(seed: usize, len: usize) -> Vec<u32> {
    (0..len)
        .map(|i| ((i * i + 31 * i + 7 * seed) % 97) as u32)
        .collect()
}

/// Logits after every token of `ids` in one training forward pass, with gradients on.
fn forward(model: &Gpt, ids: &[u32]) -> Vec<Vec<f32>> {
    let x = ids.iter().map(|&i| i64::from(i)).collect();
    let logits = model.forward(&Tensor::from_vec(x, [1, ids.len()]), &Mode::Eval);
    rows_of(&logits.squeeze(0).detach())
}

fn rows_of(logits: &Tensor) -> Vec<Vec<f32>> {
    logits
        .to_vec::<f32>()
        .chunks(97)
        .map(<[f32]>::to_vec)
        .collect()
}

#[test]
fn cached_decoding_gives_the_bits_of_the_whole_forward_pass() {
    for model in models() {
        let ids = text(0, 90);
        let whole = forward(&model, &ids);
        for sizes in [vec![90], vec![1; 90], vec![7, 1, 20, 12, 50]] {
            let mut cache = KvCache::new(&model);
            let mut at = 0;
            for n in sizes {
                let logits = model.decode(&ids[at..at + n], &mut cache);
                at += n;
                assert_eq!(logits, whole[at - 1], "after {at} tokens");
            }
        }
        let all = model.decode_all(&ids, &mut KvCache::new(&model));
        assert_eq!(rows_of(&all), whole);
    }
}

#[test]
fn a_row_has_the_bits_of_the_forward_pass_in_batches_of_every_size() {
    for &isa in isa::available() {
        for products in [DType::F32, DType::BF16] {
            isa::with_isa(isa, || autocast(products, batches_of_every_size));
        }
    }
}

fn batches_of_every_size() {
    for model in models() {
        for n in [1, 3, 8, 17, 40] {
            let texts: Vec<Vec<u32>> = (0..n).map(|i| text(i, 4 + i * 29 % 80)).collect();
            let mut cache = KvCache::with_rows(&model, n);
            // Some prompts one by one, the rest together; each without its last three tokens.
            let prompts: Vec<(usize, &[u32])> = texts
                .iter()
                .enumerate()
                .map(|(row, t)| (row, &t[..t.len() - 3]))
                .collect();
            let (alone, together) = prompts.split_at(n / 3);
            for prompt in alone {
                let _ = model.decode_ragged(&[*prompt], &mut cache);
            }
            let _ = model.decode_ragged(together, &mut cache);
            let rows: Vec<usize> = (0..n).collect();
            let whole: Vec<_> = texts.iter().map(|t| forward(&model, t)).collect();
            for back in (1..=3).rev() {
                let ids: Vec<u32> = texts.iter().map(|t| t[t.len() - back]).collect();
                let logits = rows_of(&model.decode_rows(&ids, &rows, &mut cache));
                for (row, text) in texts.iter().enumerate() {
                    assert_eq!(
                        logits[row],
                        whole[row][text.len() - back],
                        "row {row} of {n}, {back} before its end"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_may_be_named_in_any_order_with_gaps_beside_a_new_prompt() {
    for model in models() {
        let texts: Vec<Vec<u32>> = (0..6).map(|i| text(i, 10 + 13 * i)).collect();
        let mut cache = KvCache::with_rows(&model, 6);
        for row in [0, 1, 3, 5] {
            let t = &texts[row];
            let _ = model.decode_ragged(&[(row, &t[..t.len() - 1])], &mut cache);
        }
        let last = |row: usize| (row, &texts[row][texts[row].len() - 1..]);
        let parts = [last(5), last(0), last(1), (2, &texts[2][..]), last(3)];
        let logits = rows_of(&model.decode_ragged(&parts, &mut cache));
        for (got, row) in logits.iter().zip([5, 0, 1, 2, 3]) {
            let whole = forward(&model, &texts[row]);
            assert_eq!(got, &whole[texts[row].len() - 1], "row {row}");
        }
        assert_eq!([4, 2].map(|row| cache.len(row)), [0, texts[2].len()]);
        assert!(cache.is_empty(4));
    }
}

#[test]
fn rounded_weights_give_a_row_the_same_bits_alone_and_in_company() {
    for format in [WeightFormat::Int8, WeightFormat::Int4] {
        let mut model = models().remove(2);
        model.store_weights(format);
        rows_are_the_same_alone_and_in_company(&model);
    }
}

fn rows_are_the_same_alone_and_in_company(model: &Gpt) {
    let texts: Vec<Vec<u32>> = (0..20).map(|i| text(i, 3 + i)).collect();
    let mut cache = KvCache::with_rows(model, 20);
    let parts: Vec<(usize, &[u32])> = texts.iter().map(|t| &t[..]).enumerate().collect();
    let first = rows_of(&model.decode_ragged(&parts, &mut cache));
    let rows: Vec<usize> = (0..20).collect();
    let second = rows_of(&model.decode_rows(&[50; 20], &rows, &mut cache));
    for (row, text) in texts.iter().enumerate() {
        let mut alone = KvCache::new(model);
        assert_eq!(model.decode(text, &mut alone), first[row], "row {row}");
        assert_eq!(model.decode(&[50], &mut alone), second[row], "row {row}");
    }
}

#[test]
fn nothing_of_a_text_that_ended_in_nan_reaches_the_next_one_in_its_row() {
    let model = models().remove(0);
    let broken = Tensor::zeros([97, 32], DType::F32, Device::Cpu);
    broken.fill_(f64::NAN);
    let mut diverged = model.clone();
    diverged.wte.weight = broken;
    let mut cache = KvCache::with_rows(&model, 2);
    let spoilt = diverged.decode_ragged(&[(0, &text(1, 60))], &mut cache);
    assert!(spoilt.to_vec::<f32>()[0].is_nan());
    cache.truncate(0, 0);
    let parts = [(0, &text(2, 5)[..]), (1, &text(3, 50)[..])];
    let _ = model.decode_ragged(&parts, &mut cache);
    let logits = rows_of(&model.decode_rows(&[9, 9], &[0, 1], &mut cache));
    let whole = forward(&model, &[text(2, 5), vec![9]].concat());
    assert_eq!(logits[0], whole[5]);
}

#[test]
fn a_truncated_cache_continues_as_if_nothing_had_followed() {
    let model = &models()[0];
    let mut cache = KvCache::new(model);
    let first = model.decode(&[1, 2, 3], &mut cache);
    let _ = model.decode(&[9, 9], &mut cache);
    cache.truncate(0, 2);
    assert_eq!(model.decode(&[3], &mut cache), first);
    assert_eq!((cache.len(0), cache.room(0)), (3, 93));
}

#[test]
#[should_panic(expected = "row 1 of 2 is missing or named twice")]
fn a_row_named_twice_panics() {
    let model = &models()[0];
    let _ = model.decode_rows(&[1, 2], &[1, 1], &mut KvCache::with_rows(model, 2));
}

#[test]
#[should_panic(expected = "3 more tokens for row 1, 0 of 2 held")]
fn more_tokens_than_a_row_holds_panic() {
    let model = &models()[0];
    let mut cache = KvCache::with_capacity(model, 2, 2);
    let _ = model.decode_ragged(&[(1, &[1, 2, 3])], &mut cache);
}

#[test]
fn a_row_that_begins_like_another_goes_on_from_a_copy_with_the_same_bits() {
    for model in models() {
        let ids = text(2, 60);
        let mut cache = KvCache::with_rows(&model, 2);
        let _ = model.decode_ragged(&[(0, &ids[..50]), (1, &text(5, 70))], &mut cache);
        cache.copy_prefix(0, 1, 40);
        assert_eq!([cache.len(0), cache.len(1)], [50, 40]);
        let copied = model.decode_ragged(&[(1, &ids[40..])], &mut cache);
        let went_on = model.decode_ragged(&[(0, &ids[50..])], &mut cache);
        let whole = forward(&model, &ids);
        assert_eq!(copied.to_vec::<f32>(), whole[59]);
        assert_eq!(went_on.to_vec::<f32>(), whole[59]);
    }
}

#[test]
fn parts_give_as_many_logits_as_they_ask_for() {
    for model in models() {
        let texts: Vec<Vec<u32>> = (0..3).map(|i| text(i, 20 + 9 * i)).collect();
        let whole: Vec<_> = texts.iter().map(|t| forward(&model, t)).collect();
        let mut cache = KvCache::with_rows(&model, 3);
        let asked = [0, 20, 1];
        let part = |row: usize| DecodePart {
            row,
            ids: &texts[row],
            logits: asked[row].min(texts[row].len()),
        };
        let logits = rows_of(&model.decode_parts(&[part(0), part(1), part(2)], &mut cache));
        assert_eq!(logits[..20], whole[1][9..]);
        assert_eq!(logits[20], whole[2][37]);
        assert_eq!(logits.len(), 21);
        cache.truncate(0, 0);
        let none = model.decode_parts(&[part(0)], &mut cache);
        assert_eq!(none.shape(), [0, 97]);
        assert_eq!(cache.len(0), 20);
    }
}
