//! Products with quantised weights in the shapes of a small Llama, as a step of decoding or of reading a prompt does them:
//! time of all, bytes and operations per second.
//!
//! `cargo run --release -p gigaro-tensor --example quantized_bench`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use gigaro_tensor::cpu::quantized::{QuantizedMatrix, quantize_int4, quantize_int8};
use std::time::Instant;

/// Outputs and inputs of the products of a layer.
const LAYER: [[usize; 2]; 4] = [[960, 576], [576, 576], [3072, 576], [576, 1536]];
const LAYERS: usize = 30;
const ROWS: [usize; 8] = [1, 2, 4, 8, 12, 32, 128, 512];

fn main() {
    for (name, quantize) in [
        (
            "int4",
            quantize_int4 as fn(&[f32], usize, usize) -> QuantizedMatrix,
        ),
        ("int8", quantize_int8),
    ] {
        let weights: Vec<QuantizedMatrix> = (0..LAYERS)
            .flat_map(|_| LAYER)
            .map(|[outputs, inputs]| {
                let values: Vec<f32> = (0..outputs * inputs)
                    .map(|i| (i % 97) as f32 - 48.0)
                    .collect();
                quantize(&values, outputs, inputs)
            })
            .collect();
        let bytes: usize = weights.iter().map(QuantizedMatrix::size_bytes).sum();
        let products: usize = weights.iter().map(|w| w.outputs() * w.inputs()).sum();
        for rows in ROWS {
            let x: Vec<f32> = (0..rows * 1536)
                .map(|i| (i % 89) as f32 / 44.0 - 1.0)
                .collect();
            let mut y = vec![0.0; rows * 3072];
            let mut seconds: Vec<f64> = (0..7)
                .map(|_| {
                    let start = Instant::now();
                    for w in &weights {
                        w.multiply(
                            rows,
                            &x[..rows * w.inputs()],
                            None,
                            &mut y[..rows * w.outputs()],
                        );
                    }
                    start.elapsed().as_secs_f64()
                })
                .collect();
            seconds.sort_by(f64::total_cmp);
            let median = seconds[seconds.len() / 2];
            println!(
                "{name} {rows:4} rows: {:8.3} ms, {:6.1} GB/s, {:7.1} billion operations/s",
                median * 1e3,
                bytes as f64 / median / 1e9,
                2.0 * (products * rows) as f64 / median / 1e9
            );
        }
    }
}
