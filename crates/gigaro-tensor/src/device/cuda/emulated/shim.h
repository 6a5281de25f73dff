// CUDA on a processor: enough of it that the text of a kernel compiles with g++ and runs, thread by thread.
//
// The threads of a block are fibres that take turns; a barrier or a shuffle is where one lets the others go on. Every other launch takes the
// threads in reverse order, so that a result that hangs on who comes first does not stay the same. A barrier that not all threads reach ends the
// launch with a sentence. Blocks run one after the other.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#define EMULATED
#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// ---- switching from one stack to another

#ifdef __x86_64__
// A switch is what a call has to keep; the system's own asks the kernel about signals each time, which takes most of a test.
typedef void* Context;
extern "C" void shim_switch(Context* from, Context to);
asm(R"(
    .text
    .hidden shim_switch
    .globl shim_switch
    .type shim_switch, @function
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size shim_switch, .-shim_switch
)");
inline void prepare(Context& context, std::vector<char>& stack, void (*entry)()) {
    // Six registers, then where to return to; a function begins 8 bytes off the alignment.
    const uintptr_t top = (reinterpret_cast<uintptr_t>(stack.data() + stack.size()) & ~uintptr_t(15)) - 16;
    void** frame = reinterpret_cast<void**>(top) - 6;
    std::memset(frame, 0, 6 * sizeof(void*));
    frame[6] = reinterpret_cast<void*>(entry);
    context = frame;
}
inline void switch_to(Context& from, Context& to) { shim_switch(&from, to); }
#else
typedef ucontext_t Context;
inline void prepare(Context& context, std::vector<char>& stack, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack.data();
    context.uc_stack.ss_size = stack.size();
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}
inline void switch_to(Context& from, Context& to) { swapcontext(&from, &to); }
#endif

namespace shim {
struct Dim3 {
    unsigned x, y, z;
};
struct Fibre {
    Context context;
    std::vector<char> stack = std::vector<char>(128 << 10);
    Dim3 thread;
    bool done;
    // What it waits for: the count of meetings of a barrier to move on from the one it has seen.
    const unsigned* meetings;
    unsigned seen;
};
struct Barrier {
    unsigned meetings = 0, arrived = 0;
};
struct Warp {
    Barrier barrier;
    alignas(16) char slots[32][128];
};
struct Block {
    std::vector<Fibre*> fibres;
    std::vector<Warp> warps;
    Barrier barrier;
    std::vector<char> shared;
    Dim3 index, threads, grid;
    void (*kernel)(void**);
    void** arguments;
    Context scheduler;
};
inline thread_local Block block;
inline thread_local Fibre* current;
inline thread_local bool reversed;

inline void entry() {
    block.kernel(block.arguments);
    current->done = true;
    switch_to(current->context, block.scheduler);
}

inline void wait(Barrier& barrier, unsigned members) {
    const unsigned seen = barrier.meetings;
    if (++barrier.arrived == members) {
        barrier.arrived = 0;
        barrier.meetings++;
        return;
    }
    current->meetings = &barrier.meetings;
    current->seen = seen;
    switch_to(current->context, block.scheduler);
}

inline unsigned lane() { return current->thread.x % 32; }
inline Warp& warp() { return block.warps[current->thread.x / 32]; }

// Gives a value to the other threads of the warp, and `pick` one of theirs to each.
template <class T, class F> auto exchange(const T& mine, F pick) {
    static_assert(sizeof(T) <= 128, "a value of a thread");
    Warp& w = warp();
    std::memcpy(w.slots[lane()], &mine, sizeof(T));
    wait(w.barrier, 32);
    const auto result = pick([&w](unsigned lane) {
        T other;
        std::memcpy(&other, w.slots[lane], sizeof(T));
        return other;
    });
    wait(w.barrier, 32);
    return result;
}

inline void* dynamic_shared() { return block.shared.data(); }

template <class... A, size_t... I>
void call_with(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_const_t<A>*>(arguments[I])...);
}
template <class... A> void call(void (*kernel)(A...), void** arguments) {
    call_with(kernel, arguments, std::index_sequence_for<A...>());
}

// Runs the fibres of a block until all are done; false if none can go on.
inline bool run_block() {
    unsigned left = block.threads.x;
    while (left > 0) {
        bool moved = false;
        for (unsigned i = 0; i < block.threads.x; i++) {
            Fibre* fibre = block.fibres[reversed ? block.threads.x - 1 - i : i];
            if (fibre->done || (fibre->meetings && *fibre->meetings == fibre->seen)) continue;
            fibre->meetings = nullptr;
            current = fibre;
            switch_to(block.scheduler, fibre->context);
            moved = true;
            left -= fibre->done;
        }
        if (!moved) return false;
    }
    return true;
}

// A product of small matrices that a warp holds together, as the tensor cores have it: bf16 by bf16, summed in f32.
inline void multiply(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    struct Held {
        unsigned a[4], b[2];
    } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    exchange(mine, [&sum](auto of) {
        const unsigned group = lane() / 4, pair = lane() % 4;
        const auto number = [](unsigned packed, unsigned half) {
            const uint32_t bits = half ? packed & 0xffff0000u : packed << 16;
            float x;
            std::memcpy(&x, &bits, 4);
            return x;
        };
        Held left[4], right[2][4];
        for (unsigned p = 0; p < 4; p++) {
            left[p] = of(group * 4 + p);
            for (unsigned c = 0; c < 2; c++) right[c][p] = of((2 * pair + c) * 4 + p);
        }
        for (unsigned i = 0; i < 4; i++) {
            const unsigned low = i / 2, column = i % 2;
            for (unsigned k = 0; k < 16; k++) {
                const unsigned p = k % 8 / 2, high = k / 8;
                sum[i] += number(left[p].a[low + 2 * high], k % 2) * number(right[column][p].b[high], k % 2);
            }
        }
        return 0;
    });
}

// Four matrices of 8 by 8 numbers of 16 bits, of which each thread names a row.
template <class T> void load_matrices(unsigned (&to)[4], const T* row, bool turned) {
    static_assert(sizeof(T) == 2, "numbers of 16 bits");
    const T* mine = row;
    exchange(mine, [&to, turned](auto of) {
        const unsigned group = lane() / 4, pair = lane() % 4;
        for (unsigned m = 0; m < 4; m++) {
            T two[2];
            for (unsigned i = 0; i < 2; i++) two[i] = turned ? of(m * 8 + 2 * pair + i)[group] : of(m * 8 + group)[2 * pair + i];
            std::memcpy(&to[m], two, 4);
        }
        return 0;
    });
}

inline void copy_ahead(void* to, const void* from, bool there) {
    if (there) std::memcpy(to, from, 16);
    else std::memset(to, 0, 16);
}

inline float from_half(uint16_t bits) {
    _Float16 half;
    std::memcpy(&half, &bits, 2);
    return half;
}
inline uint16_t to_half(float x) {
    const _Float16 half = static_cast<_Float16>(x);
    uint16_t bits;
    std::memcpy(&bits, &half, 2);
    return bits;
}
}  // namespace shim

// Runs a kernel on a grid; a sentence if it could not go on.
extern "C" const char* shim_launch(
    void (*kernel)(void**), const unsigned* blocks, unsigned threads, unsigned shared_bytes, void** arguments) {
    using namespace shim;
    if (threads == 0 || threads > 1024) return "a block has 1 to 1024 threads";
    reversed = !reversed;
    block.threads = {threads, 1, 1};
    block.grid = {blocks[0], blocks[1], blocks[2]};
    block.kernel = kernel;
    block.arguments = arguments;
    while (block.fibres.size() < threads) block.fibres.push_back(new Fibre);
    for (unsigned z = 0; z < blocks[2]; z++)
        for (unsigned y = 0; y < blocks[1]; y++)
            for (unsigned x = 0; x < blocks[0]; x++) {
                block.index = {x, y, z};
                block.barrier = {};
                block.warps.assign((threads + 31) / 32, {});
                // What a block before left there must not be of use.
                block.shared.assign(shared_bytes, static_cast<char>(0xff));
                for (unsigned i = 0; i < threads; i++) {
                    Fibre& fibre = *block.fibres[i];
                    fibre.thread = {i, 0, 0};
                    fibre.done = false;
                    fibre.meetings = nullptr;
                    prepare(fibre.context, fibre.stack, entry);
                }
                if (!run_block()) return "a barrier or a shuffle that not all threads reach";
            }
    return nullptr;
}

#define threadIdx (shim::current->thread)
#define blockIdx (shim::block.index)
#define blockDim (shim::block.threads)
#define gridDim (shim::block.grid)

inline void __syncthreads() { shim::wait(shim::block.barrier, shim::block.threads.x); }
inline void __syncwarp() { shim::wait(shim::warp().barrier, 32); }
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
    const unsigned from = shim::lane() ^ static_cast<unsigned>(mask);
    return shim::exchange(value, [from](auto of) { return of(from); });
}
template <class T> T __shfl_sync(unsigned, T value, int from) {
    return shim::exchange(value, [from](auto of) { return of(static_cast<unsigned>(from) % 32); });
}
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
template <class T> T atomicExch(T* at, T value) { return std::exchange(*at, value); }

using std::ceil;
using std::cos;
using std::erf;
using std::exp;
using std::fabs;
using std::floor;
using std::log;
using std::pow;
using std::rint;
using std::sin;
using std::sqrt;
using std::tanh;
