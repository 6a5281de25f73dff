//! x
use gigaro_tensor::cpu::quantized::*;
use std::time::Instant;
fn main() {
    gigaro_tensor::cpu::threads::set_num_threads(1);
    for k in [256usize, 576, 1536] {
        for outs in [16usize, 128, 960] {
            for rows in [8usize, 12, 96, 960] {
                let w: Vec<f32> = (0..outs * k).map(|i| (i % 97) as f32 - 48.0).collect();
                let x: Vec<f32> = (0..rows * k)
                    .map(|i| (i % 89) as f32 / 44.0 - 1.0)
                    .collect();
                let mut y = vec![0.0; rows * outs];
                let mut s = String::new();
                for q in [quantize_int4(&w, outs, k), quantize_int8(&w, outs, k)] {
                    let n = (2e9 / (outs * k * rows) as f64).max(1.0) as usize;
                    let t = Instant::now();
                    for _ in 0..n {
                        q.multiply(rows, &x, None, &mut y);
                    }
                    s += &format!(
                        " {:.0}",
                        2.0 * (outs * k * rows * n) as f64 / t.elapsed().as_secs_f64() / 1e9
                    );
                }
                println!("k {k} outs {outs} rows {rows}: {s} GOP/s");
            }
        }
    }
}
