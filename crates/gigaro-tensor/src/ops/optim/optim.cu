// Optimiser steps in place, and norms.

// One step of Adam with decoupled weight decay; the numbers as `AdamRule` has them.
struct AdamRule {
    f64 grad_scale, keep, beta1, beta2, step_size, root_scale, eps;
};

#define ADAMW(C) \
    KERNEL(adamw_##C, C* param, const C* grad, C* first, C* second, u64 n, AdamRule rule) { \
        for (u64 i = first_element(); i < n; i += element_step()) { \
            const C g = grad[i] * (C)rule.grad_scale; \
            const C m = first[i] * (C)rule.beta1 + g * (C)(1 - rule.beta1); \
            const C v = second[i] * (C)rule.beta2 + g * g * (C)(1 - rule.beta2); \
            const C denominator = sqrt(v) * (C)rule.root_scale + (C)rule.eps; \
            param[i] = param[i] * (C)rule.keep - (C)rule.step_size * m / denominator; \
            first[i] = m; \
            second[i] = v; \
        } \
    }
ADAMW(f32)
ADAMW(f64)

// The sum of the squares of a stretch of elements, in f64: a block for each.
#define SQUARED_NORM(suffix, T, _) \
    KERNEL(squared_norm_##suffix, f64* out, const T* in, u64 n, u64 stretch) { \
        const u64 first = blockIdx.x * stretch, last = first + stretch < n ? first + stretch : n; \
        f64 sum = 0; \
        for (u64 i = first + threadIdx.x; i < last; i += blockDim.x) { \
            const f64 x = (f64)load(in[i]); \
            sum += x * x; \
        } \
        sum = block_reduce(sum, Plus()); \
        if (threadIdx.x == 0) out[blockIdx.x] = sum; \
    }
FOR_FLOATS(SQUARED_NORM, 0)
