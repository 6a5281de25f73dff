//! A GPT of either form: what it computes, learns, saves and costs.

use std::collections::BTreeMap;

use gigaro_nn::optim::{AdamOptions, AdamW, Muon, MuonOptions};
use gigaro_nn::{Mode, Module, Optimizer};
use gigaro_tensor::cpu::threads::{num_threads, set_num_threads};
use gigaro_tensor::{DType, Device, Generator, Tensor, io, no_grad};

use super::*;

fn gpt2() -> GptConfig {
    GptConfig::gpt2(50, 16, 2, 4, 32)
}

fn modern() -> GptConfig {
    GptConfig::modern(50, 16, 2, 4, 32)
}

/// One of each choice, so that no combination is left untried.
fn forms() -> Vec<GptConfig> {
    vec![
        gpt2(),
        modern(),
        GptConfig::llama(50, 16, 2, 4, 1, 32, 48),
        GptConfig {
            n_kv_head: 2,
            qk_norm: true,
            bias: false,
            tied_head: false,
            ..gpt2()
        },
        GptConfig {
            activation: FeedForwardKind::SwiGlu,
            norm: NormKind::RmsNorm,
            value_embeddings: true,
            ..gpt2()
        },
        GptConfig {
            activation: FeedForwardKind::Gelu,
            norm: NormKind::LayerNorm,
            bias: true,
            tied_head: true,
            ..modern()
        },
    ]
}

/// A model none of whose tensors is zero, so that gradients flow everywhere from the start.
fn model(config: &GptConfig, seed: u64) -> Gpt {
    let g = Generator::new(seed);
    let gpt = Gpt::new(config, &g);
    no_grad(|| {
        gpt.visit("", &mut |_, t| {
            t.add_(&(Tensor::randn(t.shape(), DType::F32, Device::Cpu, &g) * 0.05))
        });
    });
    gpt
}

fn batch(config: &GptConfig, seed: u64) -> (Tensor, Tensor) {
    let g = Generator::new(seed);
    let draw = || {
        Tensor::randint(
            0,
            config.vocab_size as i64,
            [2, 12],
            DType::I64,
            Device::Cpu,
            &g,
        )
    };
    (draw(), draw())
}

fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    (a.detach() - b.detach()).abs().max_all().item()
}

fn gradients(gpt: &Gpt) -> BTreeMap<String, Tensor> {
    let grad = |(name, p): (String, Tensor)| {
        let g = p
            .grad()
            .unwrap_or_else(|| panic!("no gradient reaches {name}"));
        (name, g)
    };
    gpt.named_parameters().into_iter().map(grad).collect()
}

#[test]
fn gradients_flow_to_every_parameter_of_every_form() {
    for config in forms() {
        let gpt = model(&config, 1);
        let (ids, targets) = batch(&config, 2);
        gpt.loss(&ids, &targets, &Mode::Eval).backward();
        for (name, g) in gradients(&gpt) {
            assert!(
                g.to_vec::<f32>().iter().any(|&x| x != 0.0),
                "the gradient of {name} is zero: {config:?}"
            );
        }
    }
}

#[test]
fn the_loss_is_the_cross_entropy_of_the_logits() {
    for config in forms() {
        let gpt = model(&config, 3);
        let (ids, targets) = batch(&config, 4);
        let mut some = targets.to_vec::<i64>();
        some[3] = IGNORE_INDEX;
        some[17] = IGNORE_INDEX;
        let targets = Tensor::from_vec(some, targets.shape());
        let fused = gpt.loss(&ids, &targets, &Mode::Eval);
        fused.backward();
        let from_fused = gradients(&gpt);
        gpt.zero_grad();
        let logits = gpt
            .forward(&ids, &Mode::Eval)
            .reshape([24, config.vocab_size]);
        let plain = F::cross_entropy(&logits, &targets.reshape([24]), IGNORE_INDEX);
        plain.backward();
        assert!(
            (fused.item() - plain.item()).abs() < 1e-5,
            "{} {}",
            fused.item(),
            plain.item()
        );
        for (name, g) in gradients(&gpt) {
            assert!(max_difference(&g, &from_fused[&name]) < 1e-5, "{name}");
        }
        let nothing = Tensor::full([2, 12], IGNORE_INDEX as f64, DType::I64, Device::Cpu);
        assert!(gpt.loss(&ids, &nothing, &Mode::Eval).item().is_nan());
    }
}

#[test]
fn the_future_does_not_change_the_past() {
    for config in forms() {
        let gpt = model(&config, 5);
        let (ids, _) = batch(&config, 6);
        let whole = gpt.forward(&ids, &Mode::Eval);
        let start = gpt.forward(&ids.narrow(1, 0, 7), &Mode::Eval);
        assert!(max_difference(&whole.narrow(1, 0, 7), &start) < 1e-5);
    }
}

#[test]
fn documents_in_one_row_do_not_see_each_other() {
    for config in forms() {
        let gpt = model(&config, 7);
        let (ids, _) = batch(&config, 8);
        let numbers: Vec<i64> = (0..24).map(|i| i64::from(i % 12 >= 5)).collect();
        let segments = Tensor::from_vec(numbers, [2, 12]);
        let packed = gpt.hidden(&ids, Some(&segments), &Mode::Eval);
        for (start, len) in [(0, 5), (5, 7)] {
            let alone = gpt.hidden(&ids.narrow(1, start, len), None, &Mode::Eval);
            let difference = max_difference(&packed.narrow(1, start, len), &alone);
            assert!(difference < 2e-5, "{difference}: {config:?}");
        }
    }
    let segments = Tensor::from_slice(&[4i64, 4, 4, 7, 7, 9, 9, 9], [2, 4]);
    assert_eq!(
        restarting_positions(&segments).to_vec::<i64>(),
        [0, 1, 2, 0, 0, 0, 1, 2]
    );
}

#[test]
fn padding_on_the_left_with_shifted_positions_changes_no_log_probability() {
    for config in forms() {
        let gpt = model(&config, 3);
        let (ids, _) = batch(&config, 8);
        let logprobs = |hidden: Tensor| F::log_softmax(&gpt.logits(&hidden), -1);
        let alone = logprobs(gpt.hidden(&ids, None, &Mode::Eval));
        let (b, t) = (ids.size(0), ids.size(1));
        for pad in 1..=config.max_seq_len - t {
            // Whatever the padding is made of: it is a segment of its own, behind which positions begin anew.
            let padding = Tensor::full([b, pad], 7.0, DType::I64, Device::Cpu);
            let padded = Tensor::cat(&[&padding, &ids], 1);
            let numbers = (0..b).flat_map(|_| (0..pad + t).map(|i| i64::from(i >= pad)));
            let segments = Tensor::from_vec(numbers.collect(), [b, pad + t]);
            let all = logprobs(gpt.hidden(&padded, Some(&segments), &Mode::Eval));
            let difference = max_difference(&all.narrow(1, pad, t), &alone);
            assert!(difference < 2e-5, "{pad} in front: {difference}");
        }
    }
}

#[test]
fn one_batch_is_learned_by_heart() {
    for config in [gpt2(), modern()] {
        let gpt = Gpt::new(&config, &Generator::new(9));
        let (ids, targets) = batch(&config, 10);
        let before = gpt.loss(&ids, &targets, &Mode::Eval).item();
        assert!(
            (before - (config.vocab_size as f64).ln()).abs() < 0.2,
            "{before}"
        );
        let mut optimizer = AdamW::new(gpt.param_groups(0.01), AdamOptions::default());
        for _ in 0..150 {
            optimizer.zero_grad();
            gpt.loss(&ids, &targets, &Mode::Eval).backward();
            optimizer.step(5e-3, 1.0);
        }
        let after = gpt.loss(&ids, &targets, &Mode::Eval).item();
        assert!(after < 0.05, "{before} -> {after}");
    }
}

#[test]
fn muon_learns_a_batch_and_has_every_parameter_once() {
    let gpt = Gpt::new(&modern(), &Generator::new(11));
    let (ids, targets) = batch(&modern(), 12);
    let (inside, rest) = gpt.muon_groups(0.0);
    let mut optimizer = Muon::new(inside, rest, MuonOptions::default());
    let counted: usize = optimizer
        .groups()
        .iter()
        .flat_map(|g| &g.params)
        .map(|(_, p)| p.numel())
        .sum();
    assert_eq!(counted, gpt.num_parameters());
    for _ in 0..100 {
        optimizer.zero_grad();
        gpt.loss(&ids, &targets, &Mode::Eval).backward();
        optimizer.step(1e-2, 1.0);
    }
    let after = gpt.loss(&ids, &targets, &Mode::Eval).item();
    assert!(after < 0.5, "{after}");
}

#[test]
fn embeddings_apart_are_those_that_are_only_looked_up() {
    let names = |config: &GptConfig| {
        let gpt = Gpt::new(config, &Generator::new(1));
        let (_, rest) = gpt.muon_groups(0.1);
        let (rest, apart) = gpt.embeddings_apart(rest);
        assert_eq!(apart.weight_decay, 0.0);
        assert!(
            rest.iter()
                .all(|g| g.params.iter().all(|(n, _)| !n.contains("embedding")))
        );
        let names = apart.params.into_iter().map(|(name, _)| name);
        names.collect::<Vec<_>>()
    };
    let values = [0, 1].map(|i| format!("model.layers.{i}.self_attn.value_embedding.weight"));
    let all = [&["model.embed_tokens.weight".to_owned()][..], &values].concat();
    assert_eq!(names(&modern()), all);
    let tied = GptConfig {
        tied_head: true,
        ..modern()
    };
    assert_eq!(names(&tied), values);
    assert!(names(&gpt2()).is_empty());
}

#[test]
fn a_model_with_value_embeddings_is_nothing_that_transformers_knows() {
    let json = |value_embeddings| {
        let llama = GptConfig::llama(50, 16, 2, 4, 2, 32, 48);
        let config = GptConfig {
            value_embeddings,
            ..llama
        };
        config.to_json()
    };
    assert!(json(false).contains("LlamaForCausalLM"));
    assert!(!json(true).contains("architectures"));
    // What was written before there were any has none.
    let mut old: serde_json::Value = serde_json::from_str(&json(true)).unwrap();
    old.as_object_mut().unwrap().remove("value_embeddings");
    assert!(
        !GptConfig::from_json(&old.to_string())
            .unwrap()
            .value_embeddings
    );
}

#[test]
fn weights_survive_a_file_bit_for_bit() {
    for config in forms() {
        let (gpt, other) = (model(&config, 13), Gpt::new(&config, &Generator::new(14)));
        let bytes = io::write_safetensors(&gpt.to_hugging_face()).unwrap();
        other
            .load_hugging_face(&io::read_safetensors(&bytes).unwrap())
            .unwrap();
        for (name, t) in gpt.state_dict() {
            assert_eq!(t.to_bytes(), other.state_dict()[&name].to_bytes(), "{name}");
        }
        let again = GptConfig::from_json(&config.to_json()).unwrap();
        assert_eq!(again, config);
    }
}

#[test]
fn files_hold_gpt2s_matrices_transposed_and_need_no_prefix() {
    let gpt = model(&gpt2(), 15);
    let mut file = gpt.to_hugging_face();
    assert_eq!(file["transformer.h.0.attn.c_attn.weight"].shape(), [32, 96]);
    assert_eq!(file["transformer.h.1.mlp.c_proj.weight"].shape(), [128, 32]);
    assert_eq!(file["transformer.wte.weight"].shape(), [50, 32]);
    // As the original files are: no prefix, a mask in every layer, the tied head given again.
    file = file
        .into_iter()
        .map(|(k, t)| (k.replace("transformer.", ""), t))
        .collect();
    file.insert(
        "h.0.attn.bias".into(),
        Tensor::ones([1, 1, 16, 16], DType::F32, Device::Cpu),
    );
    file.insert("lm_head.weight".into(), file["wte.weight"].clone());
    let other = Gpt::new(&gpt2(), &Generator::new(16));
    other.load_hugging_face(&file).unwrap();
    let (ids, _) = batch(&gpt2(), 17);
    let logits = |gpt: &Gpt| gpt.forward(&ids, &Mode::Eval).to_bytes();
    assert_eq!(logits(&gpt), logits(&other));
    file.remove("h.1.ln_2.bias");
    let message = other.load_hugging_face(&file).unwrap_err().to_string();
    assert!(message.contains("transformer.h.1.ln_2.bias"), "{message}");
}

#[test]
fn tensors_bear_the_names_of_the_ecosystem() {
    let names = |c: &GptConfig| -> Vec<String> {
        Gpt::new(c, &Generator::new(0))
            .named_parameters()
            .into_iter()
            .map(|(n, _)| n)
            .collect()
    };
    let first = &names(&gpt2())[..4];
    assert_eq!(
        first,
        [
            "transformer.wte.weight",
            "transformer.wpe.weight",
            "transformer.h.0.ln_1.weight",
            "transformer.h.0.ln_1.bias"
        ]
    );
    let llama = names(&GptConfig::llama(50, 16, 1, 4, 2, 32, 48));
    let layer = |s: &str| format!("model.layers.0.{s}.weight");
    let mut want = vec![
        "model.embed_tokens.weight".to_owned(),
        layer("input_layernorm"),
    ];
    want.extend(["q_proj", "k_proj", "v_proj", "o_proj"].map(|s| layer(&format!("self_attn.{s}"))));
    want.push(layer("post_attention_layernorm"));
    want.extend(["gate_proj", "up_proj", "down_proj"].map(|s| layer(&format!("mlp.{s}"))));
    want.extend(["model.norm.weight".to_owned(), "lm_head.weight".to_owned()]);
    assert_eq!(llama, want);
}

#[test]
fn a_seed_decides_the_weights_and_dropout() {
    let config = GptConfig {
        dropout: 0.2,
        ..gpt2()
    };
    let (ids, targets) = batch(&config, 18);
    let run = |seed: u64| {
        let gpt = Gpt::new(&config, &Generator::new(seed));
        let loss = gpt.loss(&ids, &targets, &Mode::Train(Generator::new(seed)));
        loss.backward();
        (
            loss.item().to_bits(),
            gradients(&gpt)["transformer.h.0.attn.c_attn.weight"].to_bytes(),
        )
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let wide = GptConfig {
        vocab_size: 700,
        d_model: 96,
        d_ff: 384,
        max_seq_len: 64,
        ..gpt2()
    };
    let wide_modern = GptConfig {
        vocab_size: 700,
        d_model: 96,
        d_ff: 384,
        max_seq_len: 64,
        ..modern()
    };
    let before = num_threads();
    for config in [wide, wide_modern] {
        let g = Generator::new(19);
        let ids = Tensor::randint(0, 700, [3, 64], DType::I64, Device::Cpu, &g);
        let run = |threads: usize| {
            set_num_threads(threads);
            let gpt = model(&config, 20);
            let loss = gpt.loss(&ids, &ids, &Mode::Eval);
            loss.backward();
            let bytes: Vec<Vec<u8>> = gradients(&gpt).values().map(Tensor::to_bytes).collect();
            (loss.item().to_bits(), bytes)
        };
        let (one, two) = (run(1), run(2));
        assert!(one == two, "{config:?}");
    }
    set_num_threads(before);
}

#[test]
fn activation_checkpoints_change_no_gradient() {
    for config in [
        GptConfig {
            dropout: 0.1,
            ..gpt2()
        },
        modern(),
    ] {
        let (ids, targets) = batch(&config, 21);
        let run = |on: bool| {
            let mut gpt = model(&config, 22);
            gpt.checkpoint_activations = on;
            let loss = gpt.loss(&ids, &targets, &Mode::Train(Generator::new(23)));
            loss.backward();
            (
                loss.item().to_bits(),
                gradients(&gpt)
                    .values()
                    .map(Tensor::to_bytes)
                    .collect::<Vec<_>>(),
            )
        };
        assert!(run(false) == run(true), "{config:?}");
    }
}

#[test]
fn parameters_are_counted_before_a_model_is_built() {
    for config in forms() {
        let gpt = Gpt::new(&config, &Generator::new(24));
        assert_eq!(
            gpt.num_parameters() as u64,
            config.num_params(),
            "{config:?}"
        );
    }
    assert_eq!(GptConfig::gpt2_124m().num_params(), 124_439_808);
    let small = GptConfig::small();
    let (l, c, v, t) = (6, 384, 4096, 256);
    assert_eq!(
        small.flops_per_token(256),
        6 * (12 * l * c * c + v * c) + 12 * l * c * t
    );
    let (plain, saved) = (
        small.memory_estimate(2048, false),
        small.memory_estimate(2048, true),
    );
    assert!(saved.total() < plain.total() && plain.weights == 4 * small.num_params());
}

#[test]
fn configurations_of_transformers_are_read() {
    let gpt2 = r#"{"model_type":"gpt2","vocab_size":50257,"n_positions":1024,"n_embd":768,"n_layer":12,"n_head":12,
        "n_inner":null,"activation_function":"gelu_new","layer_norm_epsilon":1e-05,"n_ctx":1024}"#;
    assert_eq!(GptConfig::from_json(gpt2).unwrap(), GptConfig::gpt2_124m());
    let llama = r#"{"model_type":"llama","vocab_size":64,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":2,
        "num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":16,"rms_norm_eps":1e-05,
        "rope_parameters":{"rope_type":"default","rope_theta":500000.0}}"#;
    let want = GptConfig {
        position: Position::rotary(500_000.0),
        ..GptConfig::llama(64, 16, 2, 4, 2, 32, 64)
    };
    assert_eq!(GptConfig::from_json(llama).unwrap(), want);
    let own = r#"{"vocab_size":64,"max_seq_len":16,"n_layer":1,"n_head":2,"d_model":8}"#;
    assert_eq!(
        GptConfig::from_json(own).unwrap(),
        GptConfig::gpt2(64, 16, 1, 2, 8)
    );
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_a_sentence() {
    for (text, part) in [
        ("[]", "cannot be read"),
        ("{}", "d_model"),
        (
            r#"{"n_embd":8,"n_head":2,"n_layer":1}"#,
            "vocab_size is missing",
        ),
        (
            r#"{"n_embd":"x","n_head":2,"n_layer":1,"vocab_size":5}"#,
            "n_embd must be a whole number",
        ),
        (r#"{"model_type":"bert"}"#, "model_type bert"),
        (
            r#"{"n_embd":9,"n_head":2,"n_layer":1,"vocab_size":5}"#,
            "not a multiple of n_head",
        ),
        (
            r#"{"n_embd":8,"n_head":0,"n_layer":1,"vocab_size":5}"#,
            "n_head is 0",
        ),
        (
            r#"{"d_model":8,"n_head":2,"n_layer":1,"vocab_size":5,"max_seq_len":4,"dropout":1.5}"#,
            "dropout is 1.5",
        ),
        (
            r#"{"d_model":18446744073709551615,"n_head":2,"n_layer":1,"vocab_size":5,"max_seq_len":4}"#,
            "d_model",
        ),
        (
            r#"{"d_model":268435456,"d_ff":8,"n_head":2,"n_layer":268435456,"vocab_size":5,"max_seq_len":4}"#,
            "parameters",
        ),
        (
            r#"{"d_model":6,"n_head":2,"n_layer":1,"vocab_size":5,"max_seq_len":4,"position":{"rotary":{"theta":1e4}}}"#,
            "rotated",
        ),
        (
            r#"{"hidden_size":8,"num_attention_heads":2,"num_hidden_layers":1,"vocab_size":5,"intermediate_size":8,
            "rope_scaling":{"rope_type":"yarn","factor":8.0}}"#,
            "yarn",
        ),
    ] {
        let message = GptConfig::from_json(text).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
}
