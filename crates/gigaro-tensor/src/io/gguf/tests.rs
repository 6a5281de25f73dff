//! A file that the reference implementation wrote, and files that are not as they should be.

use std::path::PathBuf;

use super::*;
use crate::io::load_safetensors;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

#[test]
fn every_format_gives_the_numbers_of_the_reference_implementation() {
    let file = Gguf::open(fixture("blocks.gguf")).expect("is read");
    let expected = load_safetensors(&fixture("blocks.safetensors")).expect("is read");
    assert_eq!(expected.len(), BlockFormat::ALL.len());
    for format in BlockFormat::ALL {
        let name = format.to_string();
        let tensor = file.tensor(&name).expect("is in the file");
        assert_eq!(
            (tensor.format, &tensor.shape[..]),
            (format, expected[&name].shape())
        );
        assert_eq!(tensor.numel(), expected[&name].numel());
        let (own, theirs) = (tensor.dequantize(), expected[&name].to_vec::<f32>());
        let differ = own
            .iter()
            .zip(&theirs)
            .position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differ, None, "{name}");
    }
}

#[test]
fn matrices_for_products_hold_the_numbers_of_the_file() {
    let file = Gguf::open(fixture("blocks.gguf")).expect("is read");
    for format in BlockFormat::ALL {
        let tensor = file.tensor(&format.to_string()).expect("is in the file");
        let inputs = tensor.shape[tensor.shape.len() - 1];
        let rows: Vec<&[u8]> = tensor.rows().into_iter().rev().collect();
        let Some(matrix) = format.quantized(inputs, &rows) else {
            assert!(format.block_len() == 1, "{format}");
            continue;
        };
        let mut row = vec![0.0; inputs];
        for (o, exact) in tensor.dequantize().chunks_exact(inputs).rev().enumerate() {
            matrix.dequantize_row(o, &mut row);
            let largest = exact.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            // Scales of more than 11 bits are rounded; a scale and an offset may nearly cancel.
            let allowed = if format.block_len() == 32 { 1e-6 } else { 2e-3 };
            for (x, y) in row.iter().zip(exact) {
                assert!(
                    (x - y).abs() <= allowed * largest,
                    "{format}: {x} is not {y}"
                );
            }
        }
    }
}

#[test]
fn every_type_of_metadata_is_read() {
    let file = Gguf::open(fixture("blocks.gguf")).expect("is read");
    let check =
        |key: &str, expected: Value| assert_eq!(file.metadata(key), Some(&expected), "{key}");
    let text = |s: &str| Value::Text(s.to_owned());
    let signed = |n: i64| Value::Signed(n);
    check("general.architecture", text("none"));
    check("t.u8", Value::Unsigned(255));
    check("t.i8", signed(-128));
    check("t.u16", Value::Unsigned(65535));
    check("t.i16", signed(-32768));
    check("t.u32", Value::Unsigned(u32::MAX.into()));
    check("t.i32", signed(i32::MIN.into()));
    check("t.u64", Value::Unsigned(u64::MAX));
    check("t.i64", signed(i64::MIN));
    check("t.f32", Value::Float(0.5));
    check("t.f64", Value::Float(0.1));
    check("t.bool", Value::Bool(true));
    check("t.text", text("na\u{ef}ve \u{6f22}\u{5b57}"));
    check("t.texts", Value::Array(["a", "", "bc"].map(text).to_vec()));
    check("t.numbers", Value::Array([1, -2, 3].map(signed).to_vec()));
    let nested = [vec![1, 2], vec![3]].map(|n| Value::Array(n.into_iter().map(signed).collect()));
    check("t.nested", Value::Array(nested.to_vec()));
    assert_eq!(file.metadata("t.none"), None);
}

#[test]
fn a_number_is_read_as_whatever_it_can_be() {
    assert_eq!(Value::Signed(7).as_u64(), Some(7));
    assert_eq!(Value::Signed(-7).as_u64(), None);
    assert_eq!(Value::Unsigned(u64::MAX).as_i64(), None);
    assert_eq!(Value::Unsigned(3).as_f64(), Some(3.0));
    assert_eq!(Value::Float(3.0).as_u64(), None);
    assert_eq!(Value::Bool(true).as_f64(), None);
}

/// A small valid file: one entry, one tensor of four numbers.
fn small() -> Vec<u8> {
    let numbers: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let tensor = GgufTensor {
        name: "w",
        shape: vec![2, 2],
        format: BlockFormat::F32,
        bytes: &numbers,
    };
    let entry = ("k".to_owned(), Value::Text("v".to_owned()));
    write_gguf(&[entry], &[tensor]).expect("is written")
}

#[test]
fn damaged_files_are_refused_with_what_is_wrong() {
    let whole = small();
    let refused = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let reason = Gguf::from_bytes(bytes).expect_err(expected);
        assert!(reason.contains(expected), "{reason}");
    };
    let put = |at: usize, what: &'static [u8]| {
        move |bytes: &mut Vec<u8>| bytes[at..at + what.len()].copy_from_slice(what)
    };
    // Places: 0 magic, 4 version, 8 tensors, 16 entries, 24 key length, 32 "k", 33 type, 37 length of "v", 45 "v",
    // 46 name length, 54 "w", 55 dims, 59 and 67 sizes, 75 format, 79 offset.
    refused(&put(0, b"PK"), "another kind of file");
    refused(&put(4, &[1, 0, 0, 0]), "version 1");
    refused(&put(4, &[0, 0, 0, 3]), "big-endian");
    refused(&put(4, &[9, 0, 0, 0]), "version 9");
    refused(&put(8, &[255; 8]), "dims");
    refused(&put(16, &[255; 8]), "ends within");
    refused(
        &put(24, &[255; 8]),
        "ends within the key of metadata entry 0",
    );
    refused(&put(32, &[0xFF]), "not UTF-8");
    refused(&put(33, &[77]), "value of type 77");
    refused(&put(55, &[9]), "has 9 dims");
    refused(&put(59, &[255; 8]), "beyond the end of the file");
    refused(&put(75, &[10]), "format Q2_K");
    refused(&put(75, &[2]), "no whole blocks of Q4_0");
    refused(&put(79, &[8]), "not aligned to 32");
    refused(&put(79, &[64]), "beyond the end of the file");
    refused(
        &|bytes| bytes.truncate(whole.len() - 1),
        "beyond the end of the file",
    );
    refused(&|bytes| bytes.truncate(80), "ends within w");
    assert_eq!(
        Gguf::from_bytes(whole)
            .expect("is whole")
            .tensor("w")
            .expect("w")
            .dequantize(),
        [1.0, 2.0, 3.0, 4.0]
    );
}

#[test]
fn arrays_may_not_nest_without_end() {
    let mut value = Value::Unsigned(1);
    for _ in 0..20 {
        value = Value::Array(vec![value]);
    }
    let bytes = write_gguf(&[("deep".to_owned(), value)], &[]).expect("is written");
    let reason = Gguf::from_bytes(bytes).expect_err("too deep");
    assert!(reason.contains("deep holds arrays more than"), "{reason}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Gguf::open("no/such.gguf")
        .expect_err("is not there")
        .to_string();
    assert!(error.contains("no/such.gguf"), "{error}");
}
