//! Parameters by name: the one thing that all layers and models have in common.
//!
//! A module is a plain struct. It says once, in [`Module::visit`], which tensors it holds under
//! which names; listing, counting, saving and loading follow from that. There is no common
//! `forward`: what goes in and out differs from model to model, and types should say so.

use std::collections::BTreeMap;

use gigaro_tensor::{Device, Tensor, no_grad};

/// Weights that do not fit a model. Each message says which key, what was expected, and what to do.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateDictError {
    /// Tensors that the module has were not given.
    #[error(
        "{} of the {expected} expected tensors are missing, the first is `{}`; \
         these weights belong to another model or the file is incomplete",
        keys.len(), keys[0]
    )]
    Missing {
        /// Their names.
        keys: Vec<String>,
        /// How many tensors there should be.
        expected: usize,
    },
    /// Tensors were given that the module does not have.
    #[error(
        "{} tensors have no place in this model, the first is `{}`; \
         these weights belong to another model, or remove them from the file",
        keys.len(), keys[0]
    )]
    Unexpected {
        /// Their names.
        keys: Vec<String>,
    },
    /// A tensor has another shape than the module's.
    #[error(
        "tensor `{key}` has shape {found:?} where the model has {expected:?}; \
         use the configuration that these weights were trained with"
    )]
    Shape {
        /// Its name.
        key: String,
        /// The module's shape.
        expected: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A tensor of numbers was expected and something else given.
    #[error(
        "tensor `{key}` holds {found} where {expected} is needed; write the weights again as floating-point numbers"
    )]
    DType {
        /// Its name.
        key: String,
        /// The module's dtype.
        expected: String,
        /// The dtype that was given.
        found: String,
    },
}

/// Something with named tensors.
pub trait Module {
    /// Calls `f` with the name and the handle of each tensor, in a fixed order. Names start with
    /// `prefix` and a dot, or stand alone if it is empty; see [`join`]. A tensor that is used in
    /// two places (a tied head) is visited once.
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor));

    /// Every tensor that collects gradients, with its name, in the order of [`Module::visit`].
    fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        self.visit("", &mut |name, tensor| {
            if tensor.requires_grad() {
                all.push((name.to_owned(), tensor.clone()));
            }
        });
        all
    }

    /// How many numbers are trained.
    fn num_parameters(&self) -> usize {
        let mut n = 0;
        self.visit("", &mut |_, tensor| {
            n += if tensor.requires_grad() {
                tensor.numel()
            } else {
                0
            }
        });
        n
    }

    /// Every tensor by name, cut off from the graph. These are handles on the module's own data:
    /// later training changes them, so `copy()` what must last.
    fn state_dict(&self) -> BTreeMap<String, Tensor> {
        let mut all = BTreeMap::new();
        self.visit("", &mut |name, tensor| {
            all.insert(name.to_owned(), tensor.detach());
        });
        all
    }

    /// Copies tensors into the module's own, converting the dtype, all or none of them.
    ///
    /// # Errors
    /// If a key is missing, unexpected, or has another shape; then nothing was changed.
    fn load_state_dict(&self, tensors: &BTreeMap<String, Tensor>) -> Result<(), StateDictError> {
        load_in_place(&self.state_dict(), tensors)
    }

    /// Moves every tensor to a device, where handles on them (an optimiser's, a copy's) see them too; see
    /// [`Tensor::to_device_`]. Optimisers keep their state where the parameters were when they were made, so move first.
    ///
    /// # Panics
    /// If the device is a card that was not opened.
    #[track_caller]
    fn to_device(&self, device: Device) {
        self.visit("", &mut |_, tensor| tensor.to_device_(device));
    }

    /// Forgets all gradients. Between two calls gradients add up, which is how a large batch is
    /// taken in small pieces: run `backward` on each piece, then step once with
    /// `grad_scale = 1 / pieces`.
    fn zero_grad(&self) {
        self.visit("", &mut |_, tensor| tensor.zero_grad());
    }
}

/// The name of something inside something: `join("h.0", "weight")` is `h.0.weight`.
#[must_use]
pub fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

/// Copies each of `given` into the tensor of `own` with its name, after checking that all fit.
///
/// # Errors
/// If a key is missing, unexpected, or has another shape or kind; then nothing was changed.
pub fn load_in_place(
    own: &BTreeMap<String, Tensor>,
    given: &BTreeMap<String, Tensor>,
) -> Result<(), StateDictError> {
    let missing: Vec<String> = own
        .keys()
        .filter(|k| !given.contains_key(*k))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(StateDictError::Missing {
            keys: missing,
            expected: own.len(),
        });
    }
    let unexpected: Vec<String> = given
        .keys()
        .filter(|k| !own.contains_key(*k))
        .cloned()
        .collect();
    if !unexpected.is_empty() {
        return Err(StateDictError::Unexpected { keys: unexpected });
    }
    for (key, target) in own {
        let source = &given[key];
        if source.shape() != target.shape() {
            return Err(StateDictError::Shape {
                key: key.clone(),
                expected: target.shape().to_vec(),
                found: source.shape().to_vec(),
            });
        }
        if source.dtype().is_float() != target.dtype().is_float() {
            return Err(StateDictError::DType {
                key: key.clone(),
                expected: target.dtype().to_string(),
                found: source.dtype().to_string(),
            });
        }
    }
    no_grad(|| {
        own.iter()
            .for_each(|(key, target)| target.copy_(&given[key]))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use gigaro_tensor::{DType, Generator};

    use super::*;
    use crate::Linear;

    struct Two {
        first: Linear,
        second: Linear,
    }

    impl Module for Two {
        fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
            self.first.visit(&join(prefix, "first"), f);
            self.second.visit(&join(prefix, "second"), f);
        }
    }

    fn two(seed: u64) -> Two {
        let g = Generator::new(seed);
        Two {
            first: Linear::new(3, 4, true, &g),
            second: Linear::new(4, 2, false, &g),
        }
    }

    #[test]
    fn names_are_paths_and_counting_adds_up() {
        let m = two(1);
        let names: Vec<String> = m.named_parameters().into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["first.weight", "first.bias", "second.weight"]);
        assert_eq!(m.num_parameters(), 12 + 4 + 8);
    }

    #[test]
    fn loading_copies_in_place_and_converts_the_dtype() {
        let (a, b) = (two(1), two(2));
        let handle = a.first.weight.clone();
        let wide: BTreeMap<_, _> = b
            .state_dict()
            .into_iter()
            .map(|(k, v)| (k, v.to_dtype(DType::F64)))
            .collect();
        a.load_state_dict(&wide).unwrap();
        assert_eq!(handle.to_vec::<f32>(), b.first.weight.to_vec::<f32>());
        assert!(handle.requires_grad());
    }

    #[test]
    fn weights_that_do_not_fit_are_refused_with_a_sentence_and_change_nothing() {
        let m = two(1);
        let before = m.first.bias.as_ref().unwrap().to_vec::<f32>();
        let mut given = two(2).state_dict();
        let weight = given.remove("first.weight").unwrap();
        let message = m.load_state_dict(&given).unwrap_err().to_string();
        assert!(
            message.contains("1 of the 3") && message.contains("`first.weight`"),
            "{message}"
        );
        given.insert(
            "first.weight".into(),
            Tensor::zeros([4, 5], DType::F32, Device::Cpu),
        );
        let message = m.load_state_dict(&given).unwrap_err().to_string();
        assert!(
            message.contains("[4, 5]") && message.contains("[4, 3]"),
            "{message}"
        );
        given.insert("first.weight".into(), weight);
        given.insert(
            "third.bias".into(),
            Tensor::zeros([1], DType::F32, Device::Cpu),
        );
        let message = m.load_state_dict(&given).unwrap_err().to_string();
        assert!(message.contains("`third.bias`"), "{message}");
        given.remove("third.bias");
        given.insert(
            "second.weight".into(),
            Tensor::zeros([2, 4], DType::I64, Device::Cpu),
        );
        assert!(matches!(
            m.load_state_dict(&given),
            Err(StateDictError::DType { .. })
        ));
        assert_eq!(m.first.bias.as_ref().unwrap().to_vec::<f32>(), before);
    }
}
