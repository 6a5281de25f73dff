//! Scaled dot-product attention.

mod cpu;
pub(in crate::ops) mod cuda;
mod kernel;
mod tile;

use super::matmul::precision;
use super::softmax::softmax;
use crate::autograd::record_fused;
use crate::device::cpu::attention::Dims;
use crate::device::cpu::gemm::Compute;
use crate::device::cpu::threads::SendPtr;
use crate::storage::Buffer;
use crate::{DType, Device, Tensor};
use cpu::{Rule, Target, View};
use tile::Scalar;

/// `softmax(q k^T scale + mask) v`, for every head.
///
/// `k` and `v` may have fewer heads than `q`: each serves a group of neighbouring query heads. With
/// `is_causal`, query `i` of `T` sees keys up to `i + S - T`.
///
/// # Shapes
/// `q: (B, H, T, D)`, `k, v: (B, Hkv, S, D)`, `mask` broadcasting to `(B, H, T, S)`, bool (true = look) or
/// float (added) -> `(B, H, T, D)`
/// # Panics
/// If shapes do not fit.
/// # Reference
/// Vaswani et al. (2017), <https://arxiv.org/abs/1706.03762>; tiling as Dao et al. (2022),
/// <https://arxiv.org/abs/2205.14135>; grouped heads as Ainslie et al. (2023),
/// <https://arxiv.org/abs/2305.13245>
#[must_use]
#[track_caller]
pub fn scaled_dot_product_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    is_causal: bool,
    scale: Option<f64>,
) -> Tensor {
    q.check_float("scaled_dot_product_attention");
    let scale = scale.unwrap_or(1.0 / (q.size(-1) as f64).sqrt());
    let dims = dims_of(q, k, v);
    if mask.is_some_and(Tensor::requires_grad) {
        // A learned bias is rare; the textbook form gives it its gradient.
        return composite(q, k, v, mask, is_causal, scale);
    }
    let settings = Settings {
        scale,
        causal: is_causal,
        mask: mask.map(|m| expanded_mask(m, &dims)),
        compute: precision(),
    };
    let computed = computed_in(q, &settings, dims.d);
    let inputs = [q, k, v].map(|t| t.to_dtype(computed));
    let [q32, k32, v32] = &inputs;
    let result = if computed == DType::F64 {
        tiled::<f64>(dims, settings, q32, k32, v32)
    } else {
        tiled::<f32>(dims, settings, q32, k32, v32)
    };
    result.to_dtype(q.dtype())
}

/// What kernels take for these queries: f64, f32, or bf16 on a card that has it on tensor cores anyway.
fn computed_in(q: &Tensor, settings: &Settings, d: usize) -> DType {
    match q.dtype() {
        DType::F64 => DType::F64,
        DType::BF16 if q.gpu().is_some() && cuda::flash_channels(settings, d).is_some() => {
            DType::BF16
        }
        _ => DType::F32,
    }
}

/// How scores are scaled and hidden; the mask is additive, f32, and expanded to (B, H, T, S).
#[derive(Clone)]
struct Settings {
    scale: f64,
    causal: bool,
    mask: Option<Tensor>,
    /// What products compute in, backwards as forwards.
    compute: Compute,
}

impl Settings {
    /// Runs `f` with the settings in the kernel's form.
    fn with_rule<R>(&self, f: impl FnOnce(Rule<'_>) -> R) -> R {
        let data = self.mask.as_ref().map(|m| (m.data::<f32>(), strides_of(m)));
        let mask = data.as_ref().map(|(data, strides)| (&**data, *strides));
        f(Rule {
            scale: self.scale,
            causal: self.causal,
            mask,
        })
    }
}

fn strides_of<const N: usize>(x: &Tensor) -> [usize; N] {
    x.layout().strides()[..N]
        .try_into()
        .expect("attention has four dims")
}

/// # Panics
/// If the shapes do not fit together.
#[track_caller]
fn dims_of(q: &Tensor, k: &Tensor, v: &Tensor) -> Dims {
    let ([b, h, t, d], [bk, h_kv, s, dk]) = (q.shape(), k.shape()) else {
        panic!(
            "scaled_dot_product_attention: needs four dims, got {:?} and {:?}",
            q.shape(),
            k.shape()
        )
    };
    assert!(
        b == bk && d == dk && k.shape() == v.shape() && *h_kv > 0 && h % h_kv == 0,
        "scaled_dot_product_attention: q {:?}, k {:?}, v {:?}",
        q.shape(),
        k.shape(),
        v.shape()
    );
    Dims {
        b: *b,
        h: *h,
        h_kv: *h_kv,
        t: *t,
        s: *s,
        d: *d,
    }
}

#[track_caller]
fn expanded_mask(mask: &Tensor, dims: &Dims) -> Tensor {
    let mask = mask.detach();
    let additive = if mask.dtype() == DType::Bool {
        Tensor::zeros(mask.shape(), DType::F32, mask.device())
            .masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
    } else {
        mask.to_dtype(DType::F32)
    };
    additive.expand([dims.b, dims.h, dims.t, dims.s])
}

/// The tensor itself if its last dim is contiguous, else a copy.
fn with_unit_rows(x: &Tensor) -> Tensor {
    if x.layout().strides().last() == Some(&1) || x.numel() == 0 {
        x.clone()
    } else {
        x.contiguous()
    }
}

fn view<'a, T: Scalar>(x: &Tensor, data: &'a [T]) -> View<'a, T> {
    View {
        data,
        strides: strides_of(x),
    }
}

/// Room on the device of `like` for numbers that a kernel writes.
fn scratch<T: Scalar>(like: &Tensor, len: usize) -> Buffer {
    match like.gpu() {
        Some(gpu) => Buffer::on(
            gpu,
            "scaled_dot_product_attention",
            len * like.dtype().size_bytes(),
        ),
        None => Buffer::scratch::<T>(len),
    }
}

/// Where the rows of a result go.
#[derive(Clone, Copy)]
struct Place<T> {
    /// The first element; in main memory or on a card, as the operands are.
    base: SendPtr<T>,
    /// Elements from there on.
    len: usize,
    /// Bytes of an element: those of `T`, but for bf16 on a card.
    size: usize,
    /// From one batch, head and row to the next.
    strides: [usize; 3],
}

impl<T: Scalar> Place<T> {
    /// All of a buffer.
    fn whole(buffer: &mut Buffer, dtype: DType, strides: [usize; 3]) -> Self {
        let size = dtype.size_bytes();
        let len = buffer.bytes() / size;
        let base = match buffer.device() {
            Device::Cpu => buffer.as_mut::<T>().as_mut_ptr(),
            Device::Cuda(_) => buffer.address() as *mut T,
        };
        Self {
            base: SendPtr::new(base),
            len,
            size,
            strides,
        }
    }

    /// The rest, from some element on.
    fn from(self, start: usize) -> Self {
        Self {
            base: SendPtr::new(self.base.get().wrapping_byte_add(start * self.size)),
            len: self.len.saturating_sub(start),
            ..self
        }
    }

    fn on_cpu(self) -> Target<T> {
        Target {
            base: self.base,
            len: self.len,
            strides: self.strides,
        }
    }

    fn on_card(self) -> cuda::Target {
        cuda::Target {
            at: self.base.get() as u64,
            strides: self.strides,
        }
    }
}

/// The output, `(B, T, H, D)`, so that joining the heads afterwards costs nothing, and each query's logarithm of its sum of
/// exponentials, `(B, H, T)`.
fn forward<T: Scalar + crate::Element>(
    dims: Dims,
    settings: &Settings,
    inputs: [&Tensor; 3],
) -> [Tensor; 2] {
    let Dims { b, h, t, d, .. } = dims;
    if let Some(gpu) = Tensor::common_gpu("scaled_dot_product_attention", &inputs) {
        return cuda::forward(gpu, dims, settings, inputs);
    }
    let mut out = Buffer::scratch::<T>(b * h * t * d);
    let mut lse = Buffer::scratch::<T>(b * h * t);
    let data = inputs.map(|x| x.data::<T>());
    settings.with_rule(|rule| {
        let views = [0, 1, 2].map(|i| view(inputs[i], &data[i]));
        let place = Place::whole(&mut out, T::DTYPE, [t * h * d, d, h * d]);
        kernel::forward(
            dims,
            rule,
            views,
            place.on_cpu(),
            lse.as_mut::<T>(),
            settings.compute,
        );
    });
    [
        Tensor::from_buffer(out, [b, t, h, d], T::DTYPE),
        Tensor::from_buffer(lse, [b, h, t], T::DTYPE),
    ]
}

fn tiled<T: Scalar + crate::Element>(
    dims: Dims,
    settings: Settings,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Tensor {
    let Dims {
        b,
        h,
        h_kv,
        t,
        s,
        d,
    } = dims;
    let [q, k, v] = [q, k, v].map(with_unit_rows);
    let [out, lse] = forward::<T>(dims, &settings, [&q, &k, &v]);
    let out = out.transpose(1, 2);
    let again = settings.clone();
    record_fused(
        "scaled_dot_product_attention",
        out,
        &[&q, &k, &v],
        move |x| {
            composite(
                &x[0],
                &x[1],
                &x[2],
                again.mask.as_ref(),
                again.causal,
                again.scale,
            )
        },
        move |saved, args| {
            let inputs = [&*saved[0], &*saved[1], &*saved[2], args.output()];
            let dtype = inputs[0].dtype();
            let sizes = [(t, h), (s, h_kv), (s, h_kv)];
            let mut grads =
                sizes.map(|(rows, heads)| scratch::<T>(inputs[0], b * rows * heads * d));
            let [dq, dk, dv] = &mut grads;
            let rows = |rows: usize, heads: usize| [rows * heads * d, d, heads * d];
            let places = [
                Place::whole(dq, dtype, rows(t, h)),
                Place::whole(dk, dtype, rows(s, h_kv)),
                Place::whole(dv, dtype, rows(s, h_kv)),
            ];
            gradients::<T>(dims, &settings, inputs, args.grad, &lse, places);
            let heads = |(x, (rows, heads)): (Buffer, (usize, usize))| {
                Some(Tensor::from_buffer(x, [b, rows, heads, d], dtype).transpose(1, 2))
            };
            grads.into_iter().zip(sizes).map(heads).collect()
        },
    )
}

/// Runs the backward kernel on queries, keys, values and output.
fn gradients<T: Scalar + crate::Element>(
    dims: Dims,
    settings: &Settings,
    inputs: [&Tensor; 4],
    grad: &Tensor,
    lse: &Tensor,
    places: [Place<T>; 3],
) {
    let grad = with_unit_rows(&grad.detach());
    if let Some(gpu) = grad.gpu() {
        let targets = places.map(Place::on_card);
        return cuda::backward(gpu, dims, settings, inputs, &grad, lse, targets);
    }
    let [q, k, v, out] = inputs;
    let (qd, kd, vd, od) = (q.data::<T>(), k.data::<T>(), v.data::<T>(), out.data::<T>());
    let (gd, ld) = (grad.data::<T>(), lse.data::<T>());
    let saved = cpu::Saved {
        q: view(q, &qd),
        k: view(k, &kd),
        v: view(v, &vd),
        out: view(out, &od),
        grad: view(&grad, &gd),
        lse: &ld,
    };
    let targets = places.map(Place::on_cpu);
    settings.with_rule(|rule| kernel::backward(dims, rule, saved, targets, settings.compute));
}

/// The textbook form, with all scores in memory: what the tiled kernel is checked against.
pub(crate) fn composite(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    is_causal: bool,
    scale: f64,
) -> Tensor {
    let group = q.size(1) / k.size(1).max(1);
    let (k, v) = (repeat_heads(k, group), repeat_heads(v, group));
    let mut scores = q.matmul(&k.transpose(-1, -2)) * scale;
    let (t, s) = (scores.size(-2), scores.size(-1));
    if is_causal {
        let visible = Tensor::ones([t, s], DType::F32, q.device())
            .tril(s as isize - t as isize)
            .to_dtype(DType::Bool);
        scores = scores.masked_fill(&visible.logical_not(), f64::NEG_INFINITY);
    }
    if let Some(mask) = mask {
        scores = if mask.dtype() == DType::Bool {
            scores.masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
        } else {
            scores + mask
        };
    }
    softmax(&scores, -1).matmul(&v)
}

/// Each head `n` times in a row: `(B, H, S, D)` -> `(B, H n, S, D)`.
fn repeat_heads(x: &Tensor, n: usize) -> Tensor {
    if n == 1 {
        return x.clone();
    }
    let [b, h, s, d] = x.shape().try_into().expect("attention has four dims");
    x.unsqueeze(2)
        .expand([b, h, n, s, d])
        .reshape([b, h * n, s, d])
}

/// Causal self-attention on queries, keys and values as one projection leaves them.
///
/// # Shapes
/// `qkv: (B, T, 3 C)` with `C = n_head * D`: queries, then keys, then values -> `(B, T, C)`
/// # Panics
/// If `3 n_head` does not divide the last dim.
#[must_use]
#[track_caller]
pub fn attention_qkv_packed(qkv: &Tensor, n_head: usize) -> Tensor {
    let [b, t, width] = qkv
        .shape()
        .try_into()
        .expect("attention_qkv_packed: qkv has dims (B, T, 3 C)");
    assert!(
        width % (3 * n_head) == 0,
        "attention_qkv_packed: {width} channels for 3 times {n_head} heads"
    );
    let dims = Dims {
        b,
        h: n_head,
        h_kv: n_head,
        t,
        s: t,
        d: width / 3 / n_head,
    };
    let settings = Settings {
        scale: 1.0 / (dims.d as f64).sqrt(),
        causal: true,
        mask: None,
        compute: precision(),
    };
    match computed_in(qkv, &settings, dims.d) {
        DType::F64 => packed::<f64>(qkv, dims, settings),
        dtype => packed::<f32>(&qkv.to_dtype(dtype), dims, settings).to_dtype(qkv.dtype()),
    }
}

/// Queries, keys and values of a packed projection as views `(B, H, T, D)`.
fn unpacked(qkv: &Tensor, dims: Dims) -> [Tensor; 3] {
    let Dims { b, h, t, d, .. } = dims;
    [0, 1, 2].map(|i| {
        qkv.narrow(-1, i * h * d, h * d)
            .reshape([b, t, h, d])
            .transpose(1, 2)
    })
}

/// On a card `T` may stand for bf16 too: its kernels go by the dtype of `qkv`.
fn packed<T: Scalar + crate::Element>(qkv: &Tensor, dims: Dims, settings: Settings) -> Tensor {
    let Dims { b, h, t, d, .. } = dims;
    let qkv = with_unit_rows(qkv);
    let parts = unpacked(&qkv.detach(), dims);
    let [out, lse] = forward::<T>(dims, &settings, parts.each_ref());
    let out = out.reshape([b, t, h * d]);
    record_fused(
        "attention_qkv_packed",
        out,
        &[&qkv],
        move |x| {
            let [q, k, v] = unpacked(&x[0], dims);
            let scale = 1.0 / (d as f64).sqrt();
            composite(&q, &k, &v, None, true, scale)
                .transpose(1, 2)
                .reshape([b, t, h * d])
        },
        move |saved, args| {
            let [q, k, v] = unpacked(&saved[0].detach(), dims);
            let heads = |x: &Tensor| x.detach().reshape([b, t, h, d]).transpose(1, 2);
            let mut buffer = scratch::<T>(&q, b * t * 3 * h * d);
            let all = Place::whole(&mut buffer, q.dtype(), [t * 3 * h * d, d, 3 * h * d]);
            // The three gradients lie side by side, as the projection's output did.
            let places = [0, 1, 2].map(|i| all.from(i * h * d));
            gradients::<T>(
                dims,
                &settings,
                [&q, &k, &v, &heads(args.output())],
                &heads(args.grad),
                &lse,
                places,
            );
            vec![Some(Tensor::from_buffer(
                buffer,
                [b, t, 3 * h * d],
                q.dtype(),
            ))]
        },
    )
}
