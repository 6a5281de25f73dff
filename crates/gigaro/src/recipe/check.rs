//! What the values of a recipe must satisfy beyond their types.

use gigaro_data::tokenizer::SPECIAL_TOKENS;

use super::{Algorithm, Align, Optimizer, Ppo, Pretrain, Recipe, Reward, Sft, Small};
use crate::pipeline::align::small::scaled;
use crate::pipeline::pretrain::model_config;

/// Bytes and special tokens, which every byte-level vocabulary holds.
const LEAST_VOCAB: usize = 256 + SPECIAL_TOKENS.len();
/// No vocabulary in use is a sixteenth of this.
const MOST_VOCAB: usize = 1 << 24;
/// Largest sizes of a model. A model of all of them at once could not be had, but what it would need still fits into 64 bits, so that
/// the plan can say how much memory is missing.
const MOST_LAYERS: usize = 1 << 10;
const MOST_WIDTH: usize = 1 << 16;
const MOST_CONTEXT: usize = 1 << 20;
/// More steps than anybody waits for.
const MOST_STEPS: usize = 1 << 30;
/// Most examples, prompts, answers or tokens that are asked for at once.
const MOST_ROWS: usize = 1 << 20;
/// Most documents or dialogues of the small world, which are written in memory.
const MOST_WRITTEN: usize = 1 << 26;

/// Checks a recipe; the complaint names section and key.
pub(crate) fn check(recipe: &Recipe) -> Result<(), String> {
    check_name(&recipe.name)?;
    check_vocabulary(recipe.tokenizer.vocab_size)?;
    check_model(recipe)?;
    check_pretrain(&recipe.pretrain)?;
    let share = recipe.data.held_out;
    if !(0.0..1.0).contains(&share) {
        return Err(format!(
            "[data] held_out is {share}, but a share of the text is at least 0 and less than 1"
        ));
    }
    at_most(
        "data",
        "world_documents",
        recipe.data.world_documents,
        MOST_WRITTEN,
    )?;
    if let Some(sft) = &recipe.sft {
        within("sft", "steps", sft.steps, MOST_STEPS)?;
        within("sft", "batch_size", sft.batch_size, MOST_ROWS)?;
        at_most("sft", "world_dialogues", sft.world_dialogues, MOST_WRITTEN)?;
        positive("sft", "learning_rate", sft.learning_rate)?;
        positive("sft", "muon_learning_rate", sft.muon_learning_rate)?;
        if let Some(rate) = sft.embedding_learning_rate {
            positive("sft", "embedding_learning_rate", rate)?;
        }
        check_lora(sft)?;
    }
    check_alignment(recipe)?;
    recipe
        .sampling
        .validate(usize::MAX)
        .map_err(|e| format!("[sampling] {e}"))
}

/// The name becomes a folder.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(format!(
            "name is {name:?}, but it becomes a folder: use letters, digits, `_` and `-`"
        ));
    }
    Ok(())
}

fn check_vocabulary(size: usize) -> Result<(), String> {
    if size < LEAST_VOCAB {
        return Err(format!(
            "[tokenizer] vocab_size is {size}, but a byte-level vocabulary needs at least {LEAST_VOCAB}: one per byte and {} special",
            SPECIAL_TOKENS.len()
        ));
    }
    at_most("tokenizer", "vocab_size", size, MOST_VOCAB)
}

fn check_model(recipe: &Recipe) -> Result<(), String> {
    let model = &recipe.model;
    for (key, value, most) in [
        ("n_layer", model.n_layer, MOST_LAYERS),
        ("n_head", model.n_head, MOST_WIDTH),
        ("d_model", model.d_model, MOST_WIDTH),
        ("max_seq_len", model.max_seq_len, MOST_CONTEXT),
        ("n_kv_head", model.n_kv_head.unwrap_or(1), MOST_WIDTH),
        ("d_ff", model.d_ff.unwrap_or(1), 4 * MOST_WIDTH),
    ] {
        within("model", key, value, most)?;
    }
    if !model.d_model.is_multiple_of(model.n_head) {
        let nearest = model.d_model.div_ceil(model.n_head) * model.n_head;
        let (width, heads) = (model.d_model, model.n_head);
        return Err(format!(
            "[model] d_model is {width}, which {heads} heads cannot share evenly; {nearest} would do"
        ));
    }
    let kv_heads = model.n_kv_head.unwrap_or(model.n_head);
    if !model.n_head.is_multiple_of(kv_heads) {
        return Err(format!(
            "[model] n_kv_head is {kv_heads}, but must divide n_head, which is {}",
            model.n_head
        ));
    }
    if !(0.0..1.0).contains(&model.dropout) {
        return Err(format!(
            "[model] dropout is {}, but a share is at least 0 and less than 1",
            model.dropout
        ));
    }
    not_negative(
        "model",
        "logit_soft_cap",
        model.logit_soft_cap.unwrap_or(0.0),
    )?;
    let config = model_config(model, recipe.tokenizer.vocab_size);
    config.check().map_err(|e| format!("[model] {e}"))
}

fn check_pretrain(stage: &Pretrain) -> Result<(), String> {
    let section = "pretrain";
    within(section, "steps", stage.steps, MOST_STEPS)?;
    within(section, "batch_size", stage.batch_size, MOST_ROWS)?;
    at_least_one(section, "eval_every", stage.eval_every)?;
    at_least_one(section, "save_every", stage.save_every)?;
    positive(section, "learning_rate", stage.learning_rate)?;
    positive(section, "muon_learning_rate", stage.muon_learning_rate)?;
    if let Some(rate) = stage.embedding_learning_rate {
        positive(section, "embedding_learning_rate", rate)?;
    }
    if !(0.0..=stage.learning_rate).contains(&stage.min_learning_rate) {
        let (least, most) = (stage.min_learning_rate, stage.learning_rate);
        return Err(format!(
            "[pretrain] min_learning_rate is {least}, but must be between 0 and learning_rate, which is {most}"
        ));
    }
    for (key, value) in [
        ("weight_decay", stage.weight_decay),
        ("grad_clip", stage.grad_clip),
    ] {
        not_negative(section, key, value)?;
    }
    for (key, value) in [("beta1", stage.beta1), ("beta2", stage.beta2)] {
        if !(0.0..1.0).contains(&value) {
            return Err(format!(
                "[pretrain] {key} is {value}, but must be at least 0 and less than 1"
            ));
        }
    }
    if stage.warmup_steps > stage.steps {
        return Err(format!(
            "[pretrain] warmup_steps is {}, more than the {} steps of the stage",
            stage.warmup_steps, stage.steps
        ));
    }
    Ok(())
}

fn check_lora(sft: &Sft) -> Result<(), String> {
    if let Some(lora) = sft.lora() {
        within("sft", "lora_r", lora.r, MOST_WIDTH)?;
        positive("sft", "lora_alpha", lora.lora_alpha)?;
        if lora.target_modules.is_empty() {
            return Err("[sft] lora_targets is empty, but adapters must go somewhere".into());
        }
        if sft.optimizer == Optimizer::Muon {
            return Err("[sft] optimizer is muon, which turns whole matrices; adapters (lora_r) are trained with adamw".into());
        }
        return Ok(());
    }
    for (key, given) in [
        ("lora_alpha", sft.lora_alpha.is_some()),
        ("lora_targets", sft.lora_targets.is_some()),
    ] {
        if given {
            return Err(format!(
                "[sft] {key} says how adapters are trained, but without lora_r there are none"
            ));
        }
    }
    Ok(())
}

fn check_alignment(recipe: &Recipe) -> Result<(), String> {
    if let Some(reward) = &recipe.reward {
        check_reward(reward)?;
    }
    if let Some(ppo) = &recipe.ppo {
        check_ppo(ppo, recipe)?;
    }
    if let Some(align) = &recipe.align {
        check_align(align)?;
        if align.algorithm == Algorithm::Ppo && recipe.ppo.is_none() {
            return Err(
                "[align] algorithm is ppo, whose settings are those of [ppo], which is missing"
                    .into(),
            );
        }
    }
    if let Some(small) = &recipe.small {
        check_small(small, recipe)?;
    }
    Ok(())
}

fn check_reward(reward: &Reward) -> Result<(), String> {
    let section = "reward";
    within(section, "prompts", reward.prompts, MOST_ROWS)?;
    at_most(section, "answers", reward.answers, MOST_ROWS)?;
    within(section, "steps", reward.steps, MOST_STEPS)?;
    within(section, "batch_size", reward.batch_size, MOST_ROWS)?;
    positive(section, "learning_rate", reward.learning_rate)?;
    positive(section, "muon_learning_rate", reward.muon_learning_rate)?;
    if let Some(rate) = reward.embedding_learning_rate {
        positive(section, "embedding_learning_rate", rate)?;
    }
    positive(section, "temperature", reward.temperature)?;
    if reward.answers < 2 {
        let given = reward.answers;
        return Err(format!(
            "[reward] answers is {given}, but only two or more can be ranked"
        ));
    }
    if !(0.0..0.5).contains(&reward.noise) {
        return Err(format!(
            "[reward] noise is {}, but a labeller errs at least never (0) and less than by chance (0.5)",
            reward.noise
        ));
    }
    Ok(())
}

fn check_ppo(ppo: &Ppo, recipe: &Recipe) -> Result<(), String> {
    let section = "ppo";
    for (key, value) in [
        ("steps", ppo.steps),
        ("batch_size", ppo.batch_size),
        ("max_answer_tokens", ppo.max_answer_tokens),
        ("ppo_epochs", ppo.ppo_epochs),
        ("minibatches", ppo.minibatches),
        ("eval_every", ppo.eval_every),
        ("eval_prompts", ppo.eval_prompts),
        ("compare_prompts", ppo.compare_prompts),
    ] {
        within(section, key, value, MOST_ROWS)?;
    }
    positive(section, "learning_rate", ppo.learning_rate)?;
    positive(section, "temperature", ppo.temperature)?;
    for (key, value) in [
        ("kl_coef", ppo.kl_coef),
        ("vf_coef", ppo.vf_coef),
        ("ptx_coef", ppo.ptx_coef),
        ("verified_coef", ppo.verified_coef),
    ] {
        not_negative(section, key, value)?;
    }
    if recipe.reward.is_none() || recipe.sft.is_none() {
        return Err("[ppo] needs the sections [sft] and [reward]: it trains the fine-tuned model against the reward model".into());
    }
    if ppo.minibatches > ppo.batch_size {
        return Err(format!(
            "[ppo] minibatches is {}, more than the {} answers of a rollout",
            ppo.minibatches, ppo.batch_size
        ));
    }
    Ok(())
}

fn check_small(small: &Small, recipe: &Recipe) -> Result<(), String> {
    for (key, value, most) in [
        ("n_layer", small.n_layer, MOST_LAYERS),
        ("n_head", small.n_head, MOST_WIDTH),
        ("d_model", small.d_model, MOST_WIDTH),
        ("pretrain_steps", small.pretrain_steps, MOST_STEPS),
        ("sft_steps", small.sft_steps, MOST_STEPS),
        ("ppo_steps", small.ppo_steps, MOST_STEPS),
    ] {
        within("small", key, value, most)?;
    }
    if recipe.ppo.is_none() {
        return Err("[small] needs the section [ppo], by which the small model is aligned".into());
    }
    model_config(&scaled(recipe, small).model, recipe.tokenizer.vocab_size)
        .check()
        .map_err(|e| format!("[small] {e}"))
}

fn check_align(align: &Align) -> Result<(), String> {
    let section = "align";
    for (key, value) in [
        ("steps", align.steps),
        ("batch_size", align.batch_size),
        ("answers", align.answers),
        ("prompts", align.prompts),
        ("max_answer_tokens", align.max_answer_tokens),
        ("eval_every", align.eval_every),
        ("eval_prompts", align.eval_prompts),
        ("compare_prompts", align.compare_prompts),
    ] {
        within(section, key, value, MOST_ROWS)?;
    }
    for (key, value) in [
        ("learning_rate", align.learning_rate),
        ("temperature", align.temperature),
        ("desirable_weight", align.desirable_weight),
        ("undesirable_weight", align.undesirable_weight),
    ] {
        positive(section, key, value)?;
    }
    let (algorithm, beta) = (align.algorithm, align.beta());
    // Without a reference nothing but the score holds on to, which is a known way; a loss on pairs divides by it.
    let may_be_zero = matches!(algorithm, Algorithm::Grpo | Algorithm::Rloo);
    if !(may_be_zero && beta == 0.0) {
        positive(section, "beta", beta)?;
    }
    if !(0.0..0.5).contains(&align.label_smoothing) {
        return Err(format!(
            "[align] label_smoothing is {}, but a share of pairs the wrong way round is at least 0 and less than half (0.5)",
            align.label_smoothing
        ));
    }
    not_negative(section, "courtesy", align.courtesy)?;
    if !align.missing_eos_penalty.is_finite() {
        let given = align.missing_eos_penalty;
        return Err(format!(
            "[align] missing_eos_penalty is {given}, but must be a finite number"
        ));
    }
    let compares = matches!(
        algorithm,
        Algorithm::Grpo | Algorithm::Rloo | Algorithm::BestOfN
    );
    if compares && align.answers < 2 {
        let (given, name) = (align.answers, algorithm.name());
        return Err(format!(
            "[align] answers is {given}, but {name} compares the answers to a prompt: give 2 or more"
        ));
    }
    Ok(())
}

fn within(section: &str, key: &str, value: usize, most: usize) -> Result<(), String> {
    at_least_one(section, key, value)?;
    at_most(section, key, value, most)
}

fn at_most(section: &str, key: &str, value: usize, most: usize) -> Result<(), String> {
    if value > most {
        return Err(format!(
            "[{section}] {key} is {value}, but can be at most {most}"
        ));
    }
    Ok(())
}

fn at_least_one(section: &str, key: &str, value: usize) -> Result<(), String> {
    if value == 0 {
        Err(format!("[{section}] {key} is 0, but must be at least 1"))
    } else {
        Ok(())
    }
}

fn not_negative(section: &str, key: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(format!(
            "[{section}] {key} is {value}, but must be 0 or more"
        ))
    }
}

fn positive(section: &str, key: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(format!(
            "[{section}] {key} is {value}, but must be more than 0"
        ))
    }
}

#[cfg(test)]
mod tests {
    use gigaro_models::GptConfig;
    use gigaro_models::gpt::FeedForwardKind;

    use super::*;
    use crate::recipe::builtin;

    fn refusal(change: impl FnOnce(&mut Recipe)) -> String {
        let mut recipe = builtin("speedrun").expect("is built in");
        change(&mut recipe);
        check(&recipe).expect_err("must be refused")
    }

    #[test]
    fn what_would_be_found_out_after_the_big_model_is_refused_before_it() {
        let small =
            |change: fn(&mut Small)| refusal(|r| r.small.as_mut().map(change).expect("has one"));
        assert!(small(|s| s.d_model = s.n_head * 8 + 1).starts_with("[small] "));
        let said = refusal(|r| r.ppo.as_mut().expect("has one").eval_prompts = 0);
        assert_eq!(said, "[ppo] eval_prompts is 0, but must be at least 1");
    }

    #[test]
    fn a_form_can_be_changed_in_each_of_its_parts() {
        let text = "form = 'gpt2'\nn_layer = 2\nn_head = 4\nn_kv_head = 2\nd_model = 32\nmax_seq_len = 64\nd_ff = 80\n\
                    activation = 'swiglu'\ntied_head = false\nqk_norm = true\nlogit_soft_cap = 20.0\nvalue_embeddings = true";
        let model = toml::from_str(text).expect("is a model");
        let config = model_config(&model, 300);
        assert_eq!(config.check(), Ok(()));
        let expected = GptConfig {
            n_kv_head: 2,
            d_ff: 80,
            activation: FeedForwardKind::SwiGlu,
            tied_head: false,
            qk_norm: true,
            logit_soft_cap: Some(20.0),
            value_embeddings: true,
            ..GptConfig::gpt2(300, 64, 2, 4, 32)
        };
        assert_eq!(config, expected);
        let capped = "form = 'modern'\nn_layer = 1\nn_head = 1\nd_model = 8\nmax_seq_len = 8\nlogit_soft_cap = 0.0";
        let model = toml::from_str(capped).expect("is a model");
        assert_eq!(model_config(&model, 300).logit_soft_cap, None);
    }

    #[test]
    fn what_weighs_a_loss_is_a_number_that_does_not_turn_it_round() {
        for wrong in [-0.1, f64::NAN, f64::INFINITY] {
            let said = refusal(|r| r.ppo.as_mut().expect("has one").kl_coef = wrong);
            assert_eq!(
                said,
                format!("[ppo] kl_coef is {wrong}, but must be 0 or more")
            );
        }
    }

    #[test]
    fn the_small_model_of_the_speedrun_has_a_tenth_of_the_parameters() {
        let recipe = builtin("speedrun").expect("is built in");
        let parameters = |r: &Recipe| model_config(&r.model, r.tokenizer.vocab_size).num_params();
        let small = scaled(&recipe, recipe.small.as_ref().expect("has one"));
        let (big, small) = (parameters(&recipe), parameters(&small));
        assert!(small * 10 <= big, "{small} of {big}");
    }

    #[test]
    fn values_without_sense_are_refused_with_section_and_key() {
        assert_eq!(
            refusal(|r| r.model.n_layer = 0),
            "[model] n_layer is 0, but must be at least 1"
        );
        let uneven = refusal(|r| (r.model.d_model, r.model.n_head) = (100, 6));
        assert_eq!(
            uneven,
            "[model] d_model is 100, which 6 heads cannot share evenly; 102 would do"
        );
        assert!(
            refusal(|r| r.model.n_kv_head = Some(5))
                .starts_with("[model] n_kv_head is 5, but must divide")
        );
        assert!(refusal(|r| r.model.dropout = 1.0).starts_with("[model] dropout is 1"));
        assert!(
            refusal(|r| r.pretrain.learning_rate = f64::NAN)
                .starts_with("[pretrain] learning_rate is NaN")
        );
        assert!(refusal(|r| r.pretrain.beta2 = 1.0).starts_with("[pretrain] beta2"));
        assert!(
            refusal(|r| r.pretrain.warmup_steps = 1 << 40).starts_with("[pretrain] warmup_steps")
        );
        assert!(
            refusal(|r| r.pretrain.min_learning_rate = 10.0)
                .starts_with("[pretrain] min_learning_rate")
        );
        assert!(refusal(|r| r.data.held_out = 1.0).starts_with("[data] held_out is 1"));
        assert!(
            refusal(|r| r.tokenizer.vocab_size = 100).starts_with("[tokenizer] vocab_size is 100")
        );
        assert_eq!(
            refusal(|r| r.tokenizer.vocab_size = 258),
            "[tokenizer] vocab_size is 258, but a byte-level vocabulary needs at least 261: one per byte and 5 special"
        );
        let sft = |change: fn(&mut Sft)| refusal(|r| change(r.sft.as_mut().expect("a section")));
        assert!(sft(|s| s.lora_r = Some(0)).starts_with("[sft] lora_r is 0"));
        assert!(sft(|s| s.lora_alpha = Some(8.0)).contains("without lora_r"));
        assert!(
            sft(|s| (s.lora_r, s.lora_targets) = (Some(4), Some(Vec::new())))
                .starts_with("[sft] lora_targets is empty")
        );
        assert!(sft(|s| s.lora_r = Some(4)).starts_with("[sft] optimizer is muon"));
        assert!(refusal(|r| r.sampling.top_p = 2.0).starts_with("[sampling] top_p is 2"));
        assert!(refusal(|r| r.name = "../up".into()).contains("becomes a folder"));
    }

    #[test]
    fn numbers_too_large_for_any_machine_are_refused() {
        let huge = usize::MAX / 2;
        for (place, change) in [
            (
                "[pretrain] batch_size",
                (|r, n| r.pretrain.batch_size = n) as fn(&mut Recipe, usize),
            ),
            ("[pretrain] steps", |r, n| r.pretrain.steps = n),
            ("[model] d_model", |r, n| r.model.d_model = n),
            ("[model] max_seq_len", |r, n| r.model.max_seq_len = n),
            ("[model] n_layer", |r, n| r.model.n_layer = n),
            ("[tokenizer] vocab_size", |r, n| r.tokenizer.vocab_size = n),
            ("[data] world_documents", |r, n| r.data.world_documents = n),
        ] {
            let said = refusal(|r| change(r, huge));
            assert!(
                said.starts_with(&format!("{place} is {huge}, but can be at most")),
                "{said}"
            );
        }
    }

    #[test]
    fn senseless_settings_of_alignment_are_refused_for_the_algorithm_that_reads_them() {
        let refusal = |algorithm, change: fn(&mut Align)| {
            refusal(|r| {
                let mut align = Align {
                    algorithm,
                    ..Align::default()
                };
                change(&mut align);
                r.align = Some(align);
            })
        };
        let no_beta: fn(&mut Align) = |a| a.beta = Some(0.0);
        assert_eq!(
            refusal(Algorithm::Dpo, no_beta),
            "[align] beta is 0, but must be more than 0"
        );
        let free = Align {
            algorithm: Algorithm::Grpo,
            beta: Some(0.0),
            ..Align::default()
        };
        assert_eq!(check_align(&free), Ok(()));
        assert_eq!(
            refusal(Algorithm::BestOfN, |a| a.answers = 1),
            "[align] answers is 1, but best-of-n compares the answers to a prompt: give 2 or more"
        );
        for (key, change) in [
            (
                "label_smoothing",
                (|a| a.label_smoothing = 0.5) as fn(&mut Align),
            ),
            ("desirable_weight", |a| a.desirable_weight = 0.0),
            ("steps", |a| a.steps = 0),
            ("courtesy", |a| a.courtesy = -1.0),
            ("missing_eos_penalty", |a| a.missing_eos_penalty = f64::NAN),
        ] {
            let said = refusal(Algorithm::Dpo, change);
            assert!(said.starts_with(&format!("[align] {key} is")), "{said}");
        }
        let mut recipe = builtin("shakespeare_char").expect("is built in");
        recipe.align = Some(Align {
            algorithm: Algorithm::Ppo,
            ..Align::default()
        });
        let said = check(&recipe).expect_err("there is no [ppo]");
        assert!(said.starts_with("[align] algorithm is ppo"), "{said}");
    }
}
