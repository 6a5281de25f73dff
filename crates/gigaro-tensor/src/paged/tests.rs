//! Texts in pages against attention over whole texts.

use super::*;
use crate::device::cpu::isa::on_every_path;
use crate::{Device, Generator, autocast};

const SHAPE: [usize; 3] = [2, 2, 24];
const HEADS: usize = 6;

/// A text's queries, keys and values in both layers.
struct Written {
    layers: Vec<[Tensor; 3]>,
}

impl Written {
    fn random(seed: u64, tokens: usize) -> Self {
        let random = Generator::new(seed);
        let [layers, h_kv, d] = SHAPE;
        let normal = |h: usize| Tensor::randn([1, tokens, h, d], DType::F32, Device::Cpu, &random);
        let layers = (0..layers).map(|_| [normal(HEADS), normal(h_kv), normal(h_kv)]);
        Self {
            layers: layers.collect(),
        }
    }

    /// The first `n` tokens of this text, the rest of another one.
    fn beginning(&self, n: usize, rest: &Self) -> Self {
        let join = |(a, b): (&[Tensor; 3], &[Tensor; 3])| {
            std::array::from_fn(|i| {
                let rest = b[i].narrow(1, n, b[i].size(1) - n);
                Tensor::cat(&[&a[i].narrow(1, 0, n), &rest], 1)
            })
        };
        Self {
            layers: self.layers.iter().zip(&rest.layers).map(join).collect(),
        }
    }

    /// Attention over the whole text, layer by layer.
    fn whole(&self) -> Vec<Vec<f32>> {
        let one = |[q, k, v]: &[Tensor; 3]| {
            let [q, k, v] = [q, k, v].map(|x| x.transpose(1, 2));
            let y = functional::scaled_dot_product_attention(&q, &k, &v, None, true, None);
            y.transpose(1, 2).to_dtype(DType::F32).to_vec::<f32>()
        };
        self.layers.iter().map(one).collect()
    }
}

/// Feeds some tokens of some texts in one call: `(text, from, to)`. The results by layer.
fn feed(
    cache: &mut PagedCache,
    texts: &[Written],
    spans: &[(usize, usize, usize)],
) -> Vec<Vec<f32>> {
    let mut at = 0;
    let parts: Vec<Part> = spans
        .iter()
        .map(|&(text, from, to)| {
            at += to - from;
            Part {
                text,
                at: at - (to - from),
                tokens: to - from,
            }
        })
        .collect();
    cache.reserve(&parts);
    let mut all = Vec::new();
    for layer in 0..SHAPE[0] {
        let joined = |i: usize| {
            let pieces: Vec<Tensor> = spans
                .iter()
                .map(|&(text, from, to)| texts[text].layers[layer][i].narrow(1, from, to - from))
                .collect();
            Tensor::cat(&pieces.iter().collect::<Vec<_>>(), 1)
        };
        cache.write(layer, &parts, &joined(1), &joined(2));
        all.push(cache.attend(layer, &parts, &joined(0)).to_vec::<f32>());
    }
    cache.advance(&parts);
    all
}

#[test]
fn texts_in_pages_have_the_bits_of_whole_texts() {
    on_every_path(|| {
        for dtype in [DType::F32, DType::BF16] {
            autocast(dtype, || {
                let texts: Vec<Written> = [300, 1, 129, 257]
                    .iter()
                    .enumerate()
                    .map(|(i, &n)| Written::random(i as u64, n))
                    .collect();
                let whole: Vec<_> = texts.iter().map(Written::whole).collect();
                let mut cache = PagedCache::new(SHAPE, 4, 300);
                // A prompt in pieces beside others that go on token by token.
                let calls = [
                    vec![(0, 0, 100), (3, 0, 255)],
                    vec![(1, 0, 1), (0, 100, 290), (3, 255, 256)],
                    vec![(2, 0, 128), (0, 290, 291)],
                    vec![(0, 291, 292), (2, 128, 129), (3, 256, 257)],
                ];
                let width = HEADS * SHAPE[2];
                for spans in calls {
                    let got = feed(&mut cache, &texts, &spans);
                    for (layer, got) in got.iter().enumerate() {
                        let expected: Vec<f32> = spans
                            .iter()
                            .flat_map(|&(t, from, to)| &whole[t][layer][from * width..to * width])
                            .copied()
                            .collect();
                        assert!(*got == expected, "{dtype:?}, layer {layer} of {spans:?}");
                    }
                }
                assert_eq!([0, 1, 2, 3].map(|text| cache.len(text)), [292, 1, 129, 257]);
            });
        }
    });
}

#[test]
fn texts_that_begin_alike_share_pages_and_nothing_else() {
    on_every_path(|| {
        let first = Written::random(1, 290);
        let second = first.beginning(200, &Written::random(2, 290));
        let width = HEADS * SHAPE[2];
        let [whole_first, whole_second] = [first.whole(), second.whole()];
        let texts = [first, second];
        let mut cache = PagedCache::new(SHAPE, 2, 290);
        feed(&mut cache, &texts, &[(0, 0, 250)]);
        assert_eq!(cache.free_pages(), 4);
        cache.copy_prefix(0, 1, 200);
        assert_eq!(
            (cache.free_pages(), cache.own_pages(0), cache.own_pages(1)),
            (4, 0, 0)
        );
        // The second page is written to by both, so it is copied.
        assert_eq!(cache.pages_for(1, 90), 2);
        let got = feed(&mut cache, &texts, &[(1, 200, 290)]);
        assert_eq!(
            (cache.free_pages(), cache.own_pages(0), cache.own_pages(1)),
            (2, 1, 2)
        );
        for (layer, got) in got.iter().enumerate() {
            assert!(
                got[..] == whole_second[layer][200 * width..],
                "layer {layer}"
            );
        }
        let got = feed(&mut cache, &texts, &[(0, 250, 290)]);
        for (layer, got) in got.iter().enumerate() {
            assert!(
                got[..] == whole_first[layer][250 * width..],
                "layer {layer}"
            );
        }
        // Cut short and written again.
        cache.truncate(1, 130);
        let got = feed(&mut cache, &texts, &[(1, 130, 290)]);
        for (layer, got) in got.iter().enumerate() {
            assert!(
                got[..] == whole_second[layer][130 * width..],
                "layer {layer}"
            );
        }
        cache.truncate(0, 0);
        cache.truncate(1, 0);
        assert_eq!(cache.free_pages(), 6);
    });
}

#[test]
fn nothing_of_what_was_no_number_reaches_another_text() {
    on_every_path(|| {
        for dtype in [DType::F32, DType::BF16] {
            autocast(dtype, || {
                let mut broken = Written::random(1, 128);
                for tensors in &mut broken.layers {
                    *tensors = tensors.each_ref().map(|x| x * f64::NAN);
                }
                let texts = [broken, Written::random(2, 5)];
                let mut cache = PagedCache::new(SHAPE, 2, 128).with_pages(1);
                feed(&mut cache, &texts, &[(0, 0, 128)]);
                cache.truncate(0, 0);
                let got = feed(&mut cache, &texts, &[(1, 0, 5)]);
                assert!(got == texts[1].whole(), "{dtype:?}");
            });
        }
    });
}

#[test]
#[should_panic(expected = "all 1 pages are in use")]
fn more_pages_than_there_are_panic() {
    let texts = [Written::random(1, 129)];
    feed(
        &mut PagedCache::new(SHAPE, 2, 200).with_pages(1),
        &texts,
        &[(0, 0, 129)],
    );
}

#[test]
#[should_panic(expected = "keep to one autocast")]
fn another_precision_panics() {
    let texts = [Written::random(1, 9)];
    let mut cache = PagedCache::new(SHAPE, 1, 9);
    feed(&mut cache, &texts, &[(0, 0, 5)]);
    autocast(DType::BF16, || feed(&mut cache, &texts, &[(0, 5, 9)]));
}
