// The loss of rows of logits, which become its gradient: a block for each row.

// The loss of the row goes to `losses`, and the gradient of the mean over the rows that count takes the place of the logits. With a cap above 0
// they pass through cap tanh(x / cap) first. A row to be ignored gives zeros.
template <class C>
DEVICE void row_loss(C* x, C* loss, i64 target, i64 ignored, u64 n, C scale, C cap, u32 op, Fault* fault) {
    if (target == ignored) {
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) x[i] = 0;
        if (threadIdx.x == 0) *loss = 0;
        return;
    }
    target = checked(target, (i64)n, op, fault);
    const bool capped = cap > 0;
    C top = -infinity<C>();
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) top = Larger()(x[i], top);
    top = block_reduce(top, Larger());
    if (capped) top = cap * tanh(top / cap);
    const C picked = capped ? cap * tanh(x[target] / cap) : x[target];
    C sum = 0;
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) sum += exp((capped ? cap * tanh(x[i] / cap) : x[i]) - top);
    // All threads have read the target's logit when this is done.
    sum = block_reduce(sum, Plus());
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
        const C bent = capped ? tanh(x[i] / cap) : x[i];
        const C weight = exp((capped ? cap * bent : bent) - top) / sum;
        const C slope = (weight - ((i64)i == target ? (C)1 : (C)0)) * scale;
        x[i] = capped ? slope * ((C)1 - bent * bent) : slope;
    }
    if (threadIdx.x == 0) *loss = log(sum) + top - picked;
}

#define CROSS_ENTROPY(C) \
    KERNEL(cross_entropy_##C, C* logits, C* losses, const i64* targets, const C* counted, u64 rows, u64 n, i64 ignored, f64 cap, \
        u32 op, Fault* fault) { \
        const C scale = (C)1 / *counted; \
        for (u64 row = blockIdx.x; row < rows; row += gridDim.x) \
            row_loss(logits + row * n, losses + row, targets[row], ignored, n, scale, (C)cap, op, fault); \
    }
CROSS_ENTROPY(f32)
CROSS_ENTROPY(f64)
