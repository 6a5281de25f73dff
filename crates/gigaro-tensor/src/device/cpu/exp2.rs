//! The polynomial behind every exponential here.

/// Two to the power of a number from -1/2 to 1/2, the highest power first: minimax to about one unit in the last place of an f32, from
/// Moshier's Cephes library (exp2f).
pub const EXP2: [f32; 7] = [
    1.535_336_2e-4,
    1.339_887_4e-3,
    9.618_437e-3,
    5.550_332_5e-2,
    2.402_264_8e-1,
    6.931_472e-1,
    1.0,
];
