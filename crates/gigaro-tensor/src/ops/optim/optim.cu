// Optimiser steps in place, and norms, of many tensors in a launch.

// Elements that a block takes, and tensors of a launch: as in cuda.rs.
const u64 PIECE = 16384;
const u32 TENSORS = 80;

template <int K> struct Table {
    u64 at[K][TENSORS];
    u64 elements[TENSORS];
    u32 first_block[TENSORS + 1];
    u32 tensors;

    // The tensor of this block.
    DEVICE u32 tensor() const {
        u32 low = 0, high = tensors;
        while (high - low > 1) {
            const u32 middle = (low + high) / 2;
            if (first_block[middle] <= blockIdx.x) low = middle;
            else high = middle;
        }
        return low;
    }
    // The elements of it that this block takes.
    DEVICE u64 first(u32 t) const { return (u64)(blockIdx.x - first_block[t]) * PIECE; }
    DEVICE u64 last(u32 t) const {
        const u64 end = first(t) + PIECE;
        return end < elements[t] ? end : elements[t];
    }
};

// One step of Adam with decoupled weight decay; the numbers as `AdamRule` has them.
struct AdamRule {
    f64 grad_scale, keep, beta1, beta2, step_size, root_scale, eps;
};
template <class C> struct Adam {
    C grad_scale, keep, beta1, beta2, rest1, rest2, step_size, root_scale, eps;

    DEVICE Adam(const AdamRule& rule, f64 clip)
        : grad_scale((C)(rule.grad_scale * clip)), keep((C)rule.keep), beta1((C)rule.beta1), beta2((C)rule.beta2),
          rest1((C)(1 - rule.beta1)), rest2((C)(1 - rule.beta2)), step_size((C)rule.step_size),
          root_scale((C)rule.root_scale), eps((C)rule.eps) {}

    DEVICE void step(C& param, C grad, C& first, C& second) const {
        const C g = grad * grad_scale;
        first = first * beta1 + g * rest1;
        second = second * beta2 + g * g * rest2;
        param = param * keep - step_size * first / (sqrt(second) * root_scale + eps);
    }
};

// `clip`, if there is one, is a norm and the factor that clips it.
#define ADAMW(C) \
    KERNEL(adamw_##C, GRID_CONSTANT const Table<4> table, const AdamRule* rules, u32 first_rule, const f64* clip) { \
        if (clip && !(*clip < infinity<f64>())) return; \
        const u32 t = table.tensor(); \
        const Adam<C> adam(rules[first_rule + t], clip ? clip[1] : 1); \
        const u64 first = table.first(t), last = table.last(t); \
        C* param = (C*)table.at[0][t] + first; \
        const C* grad = (const C*)table.at[1][t] + first; \
        C* moment1 = (C*)table.at[2][t] + first; \
        C* moment2 = (C*)table.at[3][t] + first; \
        const u32 n = (u32)(last - first), fours = n / 4; \
        for (u32 i = 4 * threadIdx.x; i < 4 * fours; i += 4 * blockDim.x) { \
            Four<C> p = four(param + i), m = four(moment1 + i), v = four(moment2 + i); \
            const Four<C> g = four(grad + i); \
            for (int j = 0; j < 4; j++) adam.step(p.of[j], g.of[j], m.of[j], v.of[j]); \
            four(param + i) = p; \
            four(moment1 + i) = m; \
            four(moment2 + i) = v; \
        } \
        for (u32 i = 4 * fours + threadIdx.x; i < n; i += blockDim.x) \
            adam.step(param[i], grad[i], moment1[i], moment2[i]); \
    }
ADAMW(f32)
ADAMW(f64)

// The sum of the squares of a stretch of elements, in f64: a block for each.
#define SQUARED_NORM(suffix, T, _) \
    KERNEL(squared_norm_##suffix, f64* out, GRID_CONSTANT const Table<1> table) { \
        const u32 t = table.tensor(); \
        const u64 first = table.first(t); \
        const T* in = (const T*)table.at[0][t] + first; \
        const u32 n = (u32)(table.last(t) - first), fours = n / 4; \
        f64 sum = 0; \
        for (u32 i = 4 * threadIdx.x; i < 4 * fours; i += 4 * blockDim.x) { \
            const Four<T> x = four(in + i); \
            Compute<T> part = 0; \
            for (int j = 0; j < 4; j++) part += load(x.of[j]) * load(x.of[j]); \
            sum += (f64)part; \
        } \
        for (u32 i = 4 * fours + threadIdx.x; i < n; i += blockDim.x) { \
            const f64 x = (f64)load(in[i]); \
            sum += x * x; \
        } \
        sum = block_reduce(sum, Plus()); \
        if (threadIdx.x == 0) out[blockIdx.x] = sum; \
    }
FOR_FLOATS(SQUARED_NORM, 0)

// The norm, and the factor that brings it down to `most`, as `clip_scale` has it. One block adds all sums, in an order of its own.
KERNEL(norm_and_clip, f64* out, const f64* sums, u64 n, f64 most) {
    f64 sum = 0;
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) sum += sums[i];
    sum = block_reduce(sum, Plus());
    if (threadIdx.x != 0) return;
    const f64 norm = sqrt(sum), factor = most / (norm + 1e-6);
    out[0] = norm;
    out[1] = factor < 1 ? factor : 1;
}
