//! Names of tensors in GGUF files, and the order of their rows.

/// Our names of a layer's parts, with those of the files; first Llama's, then GPT-2's.
const LAYER_PARTS: [(&str, &str); 17] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
];

/// The name that files have for one of our tensors; `None` for a part that none of them has.
pub(super) fn name_in_file(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let outside = match module {
        "model.embed_tokens" | "transformer.wte" => Some("token_embd"),
        "transformer.wpe" => Some("position_embd"),
        "model.norm" | "transformer.ln_f" => Some("output_norm"),
        "lm_head" => Some("output"),
        _ => None,
    };
    if let Some(outside) = outside {
        return Some(format!("{outside}.{kind}"));
    }
    let layer = module
        .strip_prefix("model.layers.")
        .or_else(|| module.strip_prefix("transformer.h."))?;
    let (i, part) = layer.split_once('.')?;
    let (_, stored) = LAYER_PARTS.into_iter().find(|(own, _)| *own == part)?;
    Some(format!("blk.{i}.{stored}.{kind}"))
}

/// Which row of a stored matrix is which of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// The same.
    AsStored,
    /// The two channels that a rotation turns are neighbours; ours are half a head apart.
    Interleaved {
        /// Rows of a head.
        head_dim: usize,
    },
}

impl RowOrder {
    /// The stored row that is row `row` of ours.
    #[must_use]
    pub const fn stored_row(self, row: usize) -> usize {
        match self {
            Self::AsStored => row,
            Self::Interleaved { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                let half = head_dim / 2;
                head * head_dim + 2 * (within % half) + within / half
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for (own, stored) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            (
                "model.layers.12.self_attn.q_proj.bias",
                "blk.12.attn_q.bias",
            ),
            (
                "transformer.h.0.attn.c_attn.weight",
                "blk.0.attn_qkv.weight",
            ),
            ("transformer.ln_f.bias", "output_norm.bias"),
            ("lm_head.weight", "output.weight"),
        ] {
            assert_eq!(name_in_file(own).as_deref(), Some(stored));
        }
        assert_eq!(
            name_in_file("model.layers.0.self_attn.value_embedding.weight"),
            None
        );
    }

    #[test]
    fn neighbours_in_the_file_are_half_a_head_apart() {
        let order = RowOrder::Interleaved { head_dim: 6 };
        let rows: Vec<usize> = (0..12).map(|row| order.stored_row(row)).collect();
        assert_eq!(rows, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        assert_eq!(RowOrder::AsStored.stored_row(7), 7);
    }
}
