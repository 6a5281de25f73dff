//! Printing tensors: shape, dtype and the elements, the middle of long dims left out.

use std::fmt;

use crate::{DType, Tensor};

/// Elements shown at each end of a dim, and the size from which on the middle is left out.
const EDGE: usize = 3;
const SUMMARISE: usize = 1000;

fn write_dim(
    f: &mut fmt::Formatter<'_>,
    values: &[f64],
    shape: &[usize],
    dtype: DType,
    short: bool,
    indent: usize,
) -> fmt::Result {
    let Some((&n, rest)) = shape.split_first() else {
        return match dtype {
            DType::Bool => write!(f, "{}", values[0] != 0.0),
            d if d.is_float() => write!(f, "{:.4}", values[0]),
            _ => write!(f, "{}", values[0] as i64),
        };
    };
    let each = rest.iter().product::<usize>();
    f.write_str("[")?;
    let mut first = true;
    for i in 0..n {
        if short && n > 2 * EDGE && (EDGE..n - EDGE).contains(&i) {
            if i == EDGE {
                f.write_str(", ..")?;
            }
            continue;
        }
        if !first {
            if rest.is_empty() {
                f.write_str(", ")?
            } else {
                write!(f, ",\n{:1$}", "", indent + 1)?
            }
        }
        first = false;
        write_dim(
            f,
            &values[i * each..(i + 1) * each],
            rest,
            dtype,
            short,
            indent + 1,
        )?;
    }
    f.write_str("]")
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.detach().to_dtype(DType::F64).to_vec::<f64>();
        write_dim(
            f,
            &values,
            self.shape(),
            self.dtype(),
            values.len() > SUMMARISE,
            0,
        )?;
        write!(f, " {} {}", self.layout().shape(), self.dtype())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{{{}, {}}}", self.layout().shape(), self.dtype())
    }
}
