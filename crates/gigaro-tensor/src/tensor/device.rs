//! Moving tensors between devices.

use crate::autograd::record;
use crate::device::cuda;
use crate::storage::Buffer;
use crate::{Device, Tensor};

impl Tensor {
    /// The same tensor on a device; the tensor itself if it is there. Its gradient moves back.
    ///
    /// # Panics
    /// If the device is a card that was not opened (see [`cuda::open`](crate::cuda::open)), or, when data comes from a card, if an op on it was
    /// given an index out of range.
    #[must_use]
    #[track_caller]
    pub fn to_device(&self, device: Device) -> Self {
        let from = self.device();
        if from == device {
            return self.clone();
        }
        let x = self.contiguous();
        let result = match device {
            Device::Cpu => x.downloaded(),
            Device::Cuda(index) => {
                let x = if x.gpu().is_some() {
                    x.downloaded()
                } else {
                    x.detach()
                };
                x.uploaded(cuda::gpu(index))
            }
        };
        record("to_device", result, &[self], false, || {
            Box::new(move |args| vec![Some(args.grad.to_device(from))])
        })
    }

    /// Moves the data itself: this tensor, every other handle on it and every view of it are on the device from now on, and its
    /// collected gradient too. So an optimiser made before or after sees the same parameters.
    ///
    /// # Panics
    /// As [`Tensor::to_device`].
    #[track_caller]
    pub fn to_device_(&self, device: Device) {
        if self.device() != device {
            self.storage().replace(|buffer| {
                let mut bytes = Buffer::scratch::<u8>(buffer.bytes());
                match buffer.device() {
                    Device::Cpu => bytes.as_mut::<u8>().copy_from_slice(buffer.as_slice()),
                    Device::Cuda(from) => {
                        cuda::gpu(from).download(bytes.as_mut(), buffer.address())
                    }
                }
                let Device::Cuda(to) = device else {
                    return bytes;
                };
                let there = Buffer::on(cuda::gpu(to), "to_device_", buffer.bytes());
                cuda::gpu(to).upload(there.address(), bytes.as_slice());
                there
            });
        }
        if let Some(grad) = self.grad() {
            self.set_grad(Some(grad.detach().to_device(device)));
        }
    }

    fn range(&self) -> std::ops::Range<usize> {
        let size = self.dtype().size_bytes();
        let start = self.layout().offset() * size;
        start..start + self.numel() * size
    }

    /// A contiguous tensor of the processor on a card.
    fn uploaded(&self, gpu: &'static cuda::Gpu) -> Self {
        let data = self.storage().read();
        let bytes = &data.as_slice::<u8>()[self.range()];
        let buffer = Buffer::on(gpu, "to_device", bytes.len());
        gpu.upload(buffer.address(), bytes);
        Self::from_buffer(buffer, self.shape(), self.dtype())
    }

    /// A contiguous tensor of a card on the processor.
    #[track_caller]
    fn downloaded(&self) -> Self {
        let mut buffer = Buffer::scratch::<u8>(self.range().len());
        if let Some(gpu) = self.gpu() {
            gpu.download(buffer.as_mut::<u8>(), self.address());
        }
        Self::from_buffer(buffer, self.shape(), self.dtype())
    }
}
