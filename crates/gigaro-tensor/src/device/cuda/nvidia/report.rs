//! What ptxas says about the kernels of a module: registers, and what did not fit into them.

/// What one kernel uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Usage {
    pub(super) kernel: String,
    /// Of a thread.
    pub(super) registers: u32,
    /// Bytes of a thread that are written to memory and read again because there are no more registers.
    pub(super) spilled: u32,
}

/// Reads the log of a compilation with the option that asks for it.
pub(super) fn usages(log: &str) -> Vec<Usage> {
    let mut found: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some(rest) = after(line, "Compiling entry function '") {
            found.push(Usage {
                kernel: rest.split('\'').next().unwrap_or_default().to_owned(),
                registers: 0,
                spilled: 0,
            });
        }
        let Some(kernel) = found.last_mut() else {
            continue;
        };
        if line.contains("bytes spill stores") {
            let numbers: Vec<u32> = line
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            // Stack frame, spill stores, spill loads.
            kernel.spilled = kernel.spilled.max(numbers.iter().skip(1).sum());
        }
        if let Some(rest) = after(line, "Used ") {
            let number = rest.split_whitespace().next();
            kernel.registers = number.and_then(|word| word.parse().ok()).unwrap_or(0);
        }
    }
    found
}

fn after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark).map(|(_, rest)| rest)
}

#[test]
fn registers_and_spills_are_read_for_each_kernel() {
    let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'spill' for 'sm_90a'
ptxas info    : Function properties for spill
ptxas         .     792 bytes stack frame, 1336 bytes spill stores, 1340 bytes spill loads
ptxas info    : Used 64 registers, used 0 barriers, 792 bytes cumulative stack size
ptxas info    : Compile time = 199.643 ms
ptxas info    : Compiling entry function 'add' for 'sm_90a'
ptxas info    : Function properties for add
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers";
    let usage = |kernel: &str, registers, spilled| Usage {
        kernel: kernel.to_owned(),
        registers,
        spilled,
    };
    assert_eq!(usages(log), [usage("spill", 64, 2676), usage("add", 12, 0)]);
}
