// What all kernels share; prepended to the text of each module, so that it needs no header of CUDA's.
//
// Types: a tensor of bf16 or f16 is stored in 16 bits and computed in float; integers are computed in 64 bits; bool is a u8 of 0 or 1.
// `load` widens, `store` narrows, as `Number` does on the processor.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
typedef float f32;
typedef double f64;
struct bf16 { u16 bits; };
struct f16 { u16 bits; };

#define DEVICE __device__ __forceinline__
#ifdef EMULATED
// `call_name` unpacks the arguments, which a launch has as pointers.
#define KERNEL(name, ...) \
    void name(__VA_ARGS__); \
    extern "C" void call_##name(void** arguments) { shim::call(name, arguments); } \
    void name(__VA_ARGS__)
#define KERNEL_OF(threads, name, ...) KERNEL(name, __VA_ARGS__)
#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(shim::dynamic_shared())
#define GRID_CONSTANT
#else
// A large argument that threads index into where it lies, instead of each copying it.
#define GRID_CONSTANT __grid_constant__
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
// For blocks of more than 256 threads, of which each may have 255 registers. A bound where none is needed makes the compiler spill.
#define KERNEL_OF(threads, name, ...) extern "C" __global__ void __launch_bounds__(threads) name(__VA_ARGS__)
#define DYNAMIC_SHARED(T, name) \
    extern __shared__ __align__(16) u8 dynamic_shared[]; \
    T* name = reinterpret_cast<T*>(dynamic_shared)
#endif

// Calls a macro for each dtype of a family: its suffix, its type, and what else is given.
#define FOR_FLOATS(M, ...) \
    M(f64, f64, __VA_ARGS__) M(f32, f32, __VA_ARGS__) M(bf16, bf16, __VA_ARGS__) M(f16, f16, __VA_ARGS__)
#define FOR_INTEGERS(M, ...) M(i64, i64, __VA_ARGS__) M(i32, i32, __VA_ARGS__) M(u8, u8, __VA_ARGS__)
#define FOR_NUMBERS(M, ...) FOR_FLOATS(M, __VA_ARGS__) FOR_INTEGERS(M, __VA_ARGS__)

// ---- conversions

DEVICE f32 from_bits(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 to_bits(f32 x) { return __float_as_uint(x); }

DEVICE f64 load(f64 x) { return x; }
DEVICE f32 load(f32 x) { return x; }
DEVICE f32 load(bf16 x) { return from_bits((u32)x.bits << 16); }
DEVICE i64 load(i64 x) { return x; }
DEVICE i64 load(i32 x) { return x; }
DEVICE i64 load(u8 x) { return x; }
DEVICE f32 load(f16 x) {
#ifdef EMULATED
    return shim::from_half(x.bits);
#else
    f32 y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#endif
}

template <class T> struct Stored;
template <> struct Stored<f64> {
    typedef f64 Compute;
    static DEVICE f64 of(f64 x) { return x; }
};
template <> struct Stored<f32> {
    typedef f32 Compute;
    static DEVICE f32 of(f32 x) { return x; }
    static DEVICE f32 of(f64 x) { return (f32)x; }
};
template <> struct Stored<bf16> {
    typedef f32 Compute;
    // To the nearest, to even in the middle; a NaN stays one.
    static DEVICE bf16 of(f32 x) {
        const u32 bits = to_bits(x);
        if (x != x) return bf16{(u16)(bits >> 16 | 0x40)};
        return bf16{(u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
    }
    static DEVICE bf16 of(f64 x) { return of((f32)x); }
};
template <> struct Stored<f16> {
    typedef f32 Compute;
    static DEVICE f16 of(f32 x) {
#ifdef EMULATED
        return f16{shim::to_half(x)};
#else
        f16 y;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
        return y;
#endif
    }
    static DEVICE f16 of(f64 x) { return of((f32)x); }
};
template <> struct Stored<i64> {
    typedef i64 Compute;
    static DEVICE i64 of(i64 x) { return x; }
};
template <> struct Stored<i32> {
    typedef i64 Compute;
    static DEVICE i32 of(i64 x) { return (i32)x; }
};
template <> struct Stored<u8> {
    typedef i64 Compute;
    static DEVICE u8 of(i64 x) { return (u8)x; }
};
template <class T> using Compute = typename Stored<T>::Compute;
template <class T> DEVICE T store(Compute<T> x) { return Stored<T>::of(x); }

template <class C> DEVICE C infinity() { return (C)from_bits(0x7f800000u); }

// ---- threads

DEVICE u64 first_element() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE u64 element_step() { return (u64)gridDim.x * blockDim.x; }

struct Plus {
    template <class C> DEVICE C operator()(C a, C b) const { return a + b; }
};
// NaN wins.
struct Larger {
    template <class C> DEVICE C operator()(C a, C b) const { return a > b || a != a ? a : b; }
};
struct Smaller {
    template <class C> DEVICE C operator()(C a, C b) const { return a < b || a != a ? a : b; }
};

// Joins the values of the 32 threads of a warp; each gets the result, and all the same.
template <class C, class F> DEVICE C warp_reduce(C value, F join) {
    for (int distance = 16; distance > 0; distance /= 2) {
        const C other = __shfl_xor_sync(0xffffffffu, value, distance);
        // Both sides join in one order, so that they agree to the last bit.
        value = (threadIdx.x & distance) ? join(other, value) : join(value, other);
    }
    return value;
}

// Joins the values of all threads of a block of whole warps; each gets the result.
template <class C, class F> DEVICE C block_reduce(C value, F join) {
    __shared__ C of_warps[32];
    value = warp_reduce(value, join);
    const u32 warps = blockDim.x / 32;
    if (warps == 1) return value;
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    C total = of_warps[0];
    for (u32 w = 1; w < warps; w++) total = join(total, of_warps[w]);
    // Before the next reduction writes here.
    __syncthreads();
    return total;
}

// ---- views

// A joint walk over views of one shape: dims that all step through alike are merged; the last is the innermost.
const int MAX_DIMS = 8;
template <int N> struct Walk {
    i32 dims;
    u32 extents[MAX_DIMS];
    i64 strides[N][MAX_DIMS];

    // Where element `i`, in row-major order, lies in each view. Dividing 32 bits takes a fraction of the time of 64.
    template <class I> DEVICE void find(I i, i64 (&at)[N]) const {
        for (int k = 0; k < N; k++) at[k] = 0;
        for (int d = dims - 1; d > 0; d--) {
            const I rest = i / extents[d];
            const i64 here = (i64)(i - rest * extents[d]);
            for (int k = 0; k < N; k++) at[k] += here * strides[k][d];
            i = rest;
        }
        for (int k = 0; k < N; k++) at[k] += (i64)i * strides[k][0];
    }
    // Whether element `i` of view `k` lies at `i`.
    DEVICE bool dense(int k) const { return dims == 1 && strides[k][0] == 1; }
    // Whether view `k` is one element for all.
    DEVICE bool single(int k) const { return dims == 1 && strides[k][0] == 0; }
};

// Calls `f` with the number and the places of each element that is this thread's.
template <class I, int N, class F> DEVICE void walk_in(u64 n, const Walk<N>& walk, F f) {
    for (u64 i = first_element(); i < n; i += element_step()) {
        i64 at[N];
        walk.find((I)i, at);
        f(i, at);
    }
}
template <int N, class F> DEVICE void walk_over(u64 n, const Walk<N>& walk, F f) {
    if (n >> 32) walk_in<u64>(n, walk, f);
    else walk_in<u32>(n, walk, f);
}

// Four neighbours, which are read and written at once.
template <class T> struct alignas(4 * sizeof(T)) Four { T of[4]; };
template <class T> DEVICE Four<T>& four(T* at) { return *reinterpret_cast<Four<T>*>(at); }
template <class T> DEVICE const Four<T>& four(const T* at) { return *reinterpret_cast<const Four<T>*>(at); }
template <class T> DEVICE bool fours(const T* at) { return (u64)at % sizeof(Four<T>) == 0; }

// out[i] = f(x[i]), from stored to stored
template <class R, class T, class F> DEVICE void map_stored(R* out, u64 n, const Walk<1>& walk, const T* x, F f) {
    if (!walk.dense(0) || !fours(out) || !fours(x)) {
        walk_over(n, walk, [&](u64 i, const i64 (&at)[1]) { out[i] = f(x[at[0]]); });
        return;
    }
    for (u64 i = 4 * first_element(); i + 4 <= n; i += 4 * element_step()) {
        const Four<T> in = four(x + i);
        Four<R> result;
        for (int j = 0; j < 4; j++) result.of[j] = f(in.of[j]);
        four(out + i) = result;
    }
    const u64 rest = n / 4 * 4 + first_element();
    if (rest < n) out[rest] = f(x[rest]);
}

// out[i] = f(x[i])
template <class R, class T, class F> DEVICE void map(R* out, u64 n, const Walk<1>& walk, const T* x, F f) {
    map_stored(out, n, walk, x, [&](T in) { return store<R>(f(load(in))); });
}

// out[i] = f(x[i], y[i])
template <class R, class T, class S, class F>
DEVICE void zip(R* out, u64 n, const Walk<2>& walk, const T* x, const S* y, F f) {
    const bool one_x = walk.single(0), one_y = walk.single(1);
    const bool plain = (walk.dense(0) && fours(x)) || one_x, plain_y = (walk.dense(1) && fours(y)) || one_y;
    if (!plain || !plain_y || !fours(out)) {
        walk_over(n, walk, [&](u64 i, const i64 (&at)[2]) {
            out[i] = store<R>(f(load(x[at[0]]), load(y[at[1]])));
        });
        return;
    }
    for (u64 i = 4 * first_element(); i + 4 <= n; i += 4 * element_step()) {
        Four<T> a;
        Four<S> b;
        if (one_x) for (int j = 0; j < 4; j++) a.of[j] = *x;
        else a = four(x + i);
        if (one_y) for (int j = 0; j < 4; j++) b.of[j] = *y;
        else b = four(y + i);
        Four<R> result;
        for (int j = 0; j < 4; j++) result.of[j] = store<R>(f(load(a.of[j]), load(b.of[j])));
        four(out + i) = result;
    }
    const u64 rest = n / 4 * 4 + first_element();
    if (rest < n) out[rest] = store<R>(f(load(x[one_x ? 0 : rest]), load(y[one_y ? 0 : rest])));
}

// ---- indices that are out of range

// The first one is kept, and the processor finds it when it next reads from the card; the kernel goes on with 0.
struct Fault {
    u32 raised;
    u32 op;
    i64 index;
    i64 limit;
};
DEVICE i64 checked(i64 index, i64 limit, u32 op, Fault* fault) {
    if (index >= 0 && index < limit) return index;
    if (atomicExch(&fault->raised, 1u) == 0) {
        fault->op = op;
        fault->index = index;
        fault->limit = limit;
    }
    return 0;
}

// ---- tensor cores

// Two numbers in bf16, the first in the lower half.
DEVICE u32 pack(f32 low, f32 high) { return (u32)Stored<bf16>::of(low).bits | (u32)Stored<bf16>::of(high).bits << 16; }

// sum += a b for a (16, 16) and a (16, 8) matrix of bf16, which the 32 threads of a warp hold together. With g = lane / 4 and t = lane % 4 a
// thread has, two neighbours in a register: of a, rows g and g + 8, columns 2 t (registers 0 and 1) and 2 t + 8 (2 and 3); of b, column g, rows
// 2 t (0) and 2 t + 8 (1); of the sum, row g (0 and 1) and row g + 8 (2 and 3), columns 2 t and 2 t + 1.
DEVICE void multiply(f32 (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef EMULATED
    shim::multiply(sum, a, b);
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Four matrices of 8 by 8 from shared memory, in the form that `multiply` takes: the 32 threads name a row each, those of the first matrix first.
// Thread l gets columns 2 t and 2 t + 1 of row g of each; `turned`, rows 2 t and 2 t + 1 of column g.
DEVICE void load_matrices(u32 (&to)[4], const bf16* row) {
#ifdef EMULATED
    shim::load_matrices(to, row, false);
#else
    asm volatile("{ .reg .u64 s; cvta.to.shared.u64 s, %4; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [s]; }"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(row) : "memory");
#endif
}
DEVICE void load_matrices_turned(u32 (&to)[4], const bf16* row) {
#ifdef EMULATED
    shim::load_matrices(to, row, true);
#else
    asm volatile("{ .reg .u64 s; cvta.to.shared.u64 s, %4; ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [s]; }"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(row) : "memory");
#endif
}

// ---- copies that go on while the block computes

// Asks for 16 bytes from global in shared memory, zeros if they are not `there`; both addresses are multiples of 16.
DEVICE void copy_ahead(void* to, const void* from, bool there) {
#ifdef EMULATED
    shim::copy_ahead(to, from, there);
#else
    const u32 bytes = there ? 16 : 0;
    asm volatile("{ .reg .u64 s; cvta.to.shared.u64 s, %0; cp.async.cg.shared.global [s], [%1], 16, %2; }"
        :: "l"(to), "l"(from), "r"(bytes) : "memory");
#endif
}
// Ends a group of such copies.
DEVICE void end_copies() {
#ifndef EMULATED
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until all groups of this thread but the last `N` have arrived.
template <int N> DEVICE void await_copies() {
#ifndef EMULATED
    asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
#endif
}

// 2 to the power of x, within a few units of the last place; 0 for minus infinity.
DEVICE f32 power_of_two(f32 x) {
#ifdef EMULATED
    return exp2f(x);
#else
    f32 y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}
