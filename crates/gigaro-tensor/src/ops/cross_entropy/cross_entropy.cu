// The loss of rows of logits and its gradient: a block for each row.

// The loss of the row goes to `loss`, and the gradient of the mean over the rows that count to `slopes`, which may be the logits' place, or nowhere.
// With a cap above 0 logits pass through cap tanh(x / cap) first. A row to be ignored gives zeros.
template <class C, class O>
DEVICE void row_loss(const C* x, O* slopes, C* loss, i64 target, i64 ignored, u64 n, C scale, C cap, u32 op, Fault* fault) {
    if (target == ignored) {
        for (u64 i = threadIdx.x; slopes && i < n; i += blockDim.x) slopes[i] = store<O>((C)0);
        if (threadIdx.x == 0) *loss = 0;
        return;
    }
    target = checked(target, (i64)n, op, fault);
    const bool capped = cap > 0;
    const auto bent = [=](C y) { return capped ? cap * tanh(y / cap) : y; };
    // The largest so far and the sum below it, in one pass.
    C top = -infinity<C>(), sum = 0;
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
        const C y = bent(x[i]), peak = Larger()(y, top);
        sum = (top == -infinity<C>() ? (C)0 : sum * exp(top - peak)) + (peak == -infinity<C>() ? (C)0 : exp(y - peak));
        top = peak;
    }
    const C peak = block_reduce(top, Larger()), picked = bent(x[target]);
    // All threads have read the target's logit when this is done.
    sum = block_reduce(top == -infinity<C>() ? (C)0 : sum * exp(top - peak), Plus());
    for (u64 i = threadIdx.x; slopes && i < n; i += blockDim.x) {
        const C y = bent(x[i]), weight = exp(y - peak) / sum;
        const C slope = (weight - ((i64)i == target ? (C)1 : (C)0)) * scale, share = y / cap;
        slopes[i] = store<O>(capped ? slope * ((C)1 - share * share) : slope);
    }
    if (threadIdx.x == 0) *loss = log(sum) + peak - picked;
}

// Rows begin `pitch` elements after one another.
#define CROSS_ENTROPY(from, C, to, O) \
    KERNEL(cross_entropy_##from##_##to, const C* logits, O* slopes, C* losses, const i64* targets, const C* counted, u64 rows, u64 n, \
        u64 pitch, i64 ignored, f64 cap, u32 op, Fault* fault) { \
        const C scale = (C)1 / *counted; \
        for (u64 row = blockIdx.x; row < rows; row += gridDim.x) \
            row_loss(logits + row * pitch, slopes ? slopes + row * pitch : 0, losses + row, targets[row], ignored, n, scale, (C)cap, op, \
                fault); \
    }
CROSS_ENTROPY(f32, f32, f32, f32)
CROSS_ENTROPY(f64, f64, f64, f64)
CROSS_ENTROPY(f32, f32, bf16, bf16)
CROSS_ENTROPY(f32, f32, f16, f16)
