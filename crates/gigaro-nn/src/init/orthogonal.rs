//! Orthogonal initialisation.

use gigaro_tensor::{Generator, Shape, Tensor};

/// A matrix with orthonormal columns, or rows if there are fewer of them, times `gain`. Dims after
/// the first are read as one.
///
/// The Q of a QR decomposition of a normal matrix, by modified Gram-Schmidt in f64, each vector
/// twice, because one pass loses digits when vectors nearly agree. R's diagonal is positive, which
/// makes Q uniform among all orthogonal matrices.
///
/// # Panics
/// If there are fewer than two dims.
/// # Reference
/// Saxe, McClelland, Ganguli (2013), <https://arxiv.org/abs/1312.6120>
#[must_use]
#[track_caller]
pub fn orthogonal(shape: impl Into<Shape>, gain: f64, generator: &Generator) -> Tensor {
    let shape = shape.into();
    assert!(
        shape.dims().len() >= 2,
        "orthogonal: needs at least two dims, got {shape}"
    );
    let rows = shape.dims()[0];
    let columns = shape.numel() / rows.max(1);
    let (n, len) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(n);
    while vectors.len() < n {
        let mut v: Vec<f64> = (0..len.div_ceil(2))
            .flat_map(|_| <[f64; 2]>::from(generator.normal_pair()))
            .collect();
        v.truncate(len);
        let before = norm(&v);
        for _ in 0..2 {
            for q in &vectors {
                let along: f64 = q.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(q).for_each(|(x, q)| *x -= along * q);
            }
        }
        let length = norm(&v);
        // A vector inside the span of the others has no direction left: draw another.
        if length > 1e-10 * before {
            v.iter_mut().for_each(|x| *x /= length);
            vectors.push(v);
        }
    }
    let mut values = vec![0.0_f32; rows * columns];
    for (i, v) in vectors.iter().enumerate() {
        for (j, &x) in v.iter().enumerate() {
            let at = if rows <= columns {
                i * columns + j
            } else {
                j * columns + i
            };
            values[at] = (gain * x) as f32;
        }
    }
    Tensor::from_vec(values, shape)
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use gigaro_tensor::{DType, Device};

    use super::*;

    fn check(rows: usize, columns: usize) {
        let q = orthogonal([rows, columns], 1.0, &Generator::new(6)).to_dtype(DType::F64);
        let gram = if rows <= columns {
            q.matmul(&q.t())
        } else {
            q.t().matmul(&q)
        };
        let n = rows.min(columns);
        let error = (gram - Tensor::eye(n, DType::F64, Device::Cpu))
            .abs()
            .max_all()
            .item();
        assert!(error < 1e-6, "{rows} x {columns}: {error}");
    }

    #[test]
    fn rows_or_columns_are_orthonormal() {
        check(48, 32);
        check(32, 48);
        check(33, 33);
        check(1, 1);
    }
}
