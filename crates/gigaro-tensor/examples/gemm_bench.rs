//! Times matrix products and compares them with the machine's peak, measured in the same process.
//!
//! `cargo run --release -p gigaro-tensor --example gemm_bench -- [THREADS] [FILTER]`
#![expect(clippy::print_stdout, reason = "a program for people")]

use gigaro_tensor::device::cpu::gemm::{Compute, Data, DataMut, Gemm, Operand, Output, gemm};
use gigaro_tensor::device::cpu::{peak, threads};
use std::time::Instant;

/// `(m, n, k)`, whether `a` and `b` are given transposed, and what uses it.
const SHAPES: [(usize, usize, usize, bool, bool, &str); 20] = [
    (1024, 1024, 1024, false, false, "cube"),
    (1024, 1024, 1024, true, false, "cube A'B"),
    (1024, 1024, 1024, false, true, "cube AB'"),
    (2048, 3072, 768, false, false, "issue"),
    (2048, 3072, 768, false, true, "forward, 124M"),
    (2048, 768, 3072, false, false, "backward x, 124M"),
    (3072, 768, 2048, true, false, "backward w, 124M"),
    (2048, 1536, 384, false, true, "forward, small"),
    (2048, 384, 1536, false, true, "forward, small"),
    (2048, 384, 384, false, true, "forward, small"),
    (2048, 384, 1536, false, false, "backward x, small"),
    (2048, 1536, 384, false, false, "backward x, small"),
    (1536, 384, 2048, true, false, "backward w, small"),
    (384, 1536, 2048, true, false, "backward w, small"),
    (2048, 4096, 384, false, true, "logits, small"),
    (2048, 384, 4096, false, false, "logits backward x"),
    (4096, 384, 2048, true, false, "logits backward w"),
    (768, 512, 128, false, true, "characters"),
    (768, 128, 512, false, true, "characters"),
    (768, 128, 128, false, true, "characters"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(count) = arguments.first().and_then(|x| x.parse().ok()) {
        threads::set_num_threads(count);
    }
    let wanted = arguments
        .iter()
        .find(|x| x.parse::<usize>().is_err())
        .map_or("", String::as_str);
    println!(
        "{} threads, {:.1} GB/s",
        threads::num_threads(),
        peak::read_bandwidth() / 1e9
    );
    for (m, n, k, ta, tb, what) in SHAPES {
        if !what.contains(wanted) {
            continue;
        }
        let shape = format!("{m} x {n} x {k}");
        print!("{shape:>18} {what:20}");
        for compute in [Compute::F32, Compute::BF16] {
            let peak = match compute {
                Compute::F32 => peak::f32_flops(),
                Compute::BF16 => peak::bf16_flops(),
            };
            let (best, median) = time(m, n, k, ta, tb, compute);
            let flops = 2.0 * (m * n * k) as f64;
            print!(
                "  {compute:?} {:6.1} GFLOP/s {:5.1} % (median {:5.1} %)",
                flops / best / 1e9,
                100.0 * flops / best / peak,
                100.0 * flops / median / peak
            );
        }
        println!();
    }
}

/// Best and median seconds.
fn time(m: usize, n: usize, k: usize, ta: bool, tb: bool, compute: Compute) -> (f64, f64) {
    let fill = |n: usize| {
        (0..n)
            .map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5)
            .collect::<Vec<f32>>()
    };
    let (a, b, mut c) = (fill(m * k), fill(k * n), vec![0.0; m * n]);
    let once = |c: &mut [f32]| {
        let start = Instant::now();
        gemm(Gemm {
            m,
            n,
            k,
            a: Operand {
                data: Data::F32(&a),
                rs: if ta { 1 } else { k },
                cs: if ta { m } else { 1 },
            },
            b: Operand {
                data: Data::F32(&b),
                rs: if tb { 1 } else { n },
                cs: if tb { k } else { 1 },
            },
            c: Output {
                data: DataMut::F32(c),
                rs: n,
                cs: 1,
            },
            compute,
            accumulate: false,
            bias: None,
        });
        start.elapsed().as_secs_f64()
    };
    let repeats = (4e9 / (m * n * k) as f64).clamp(10.0, 400.0) as usize;
    once(&mut c);
    let mut times: Vec<f64> = (0..repeats).map(|_| once(&mut c)).collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[repeats / 2])
}
