//! Kernels over pairs of `f32` vectors, chosen once at run time for the processor.
//!
//! All accumulate in `f32`, in several independent sums, so their results differ from the exact value and from each other only by rounding.
//! NaN and infinity propagate.

use std::sync::OnceLock;

/// Defines the kernels of an x86-64 instruction set by means of the module's `fold` and `fold4`. `squared` and `product` add the squared
/// differences, or the products, of lanes of two vectors to a sum.
#[cfg(target_arch = "x86_64")]
macro_rules! kernels {
    ($name:literal, $features:literal, squared: $squared:expr, product: $product:expr, tiles: $tiles:expr) => {
        pub(super) static KERNELS: Kernels = Kernels { name: $name, l2sq, ip, l2sq4, ip4, tiles: $tiles };

        #[target_feature(enable = $features)]
        unsafe extern "C" fn l2sq(a: *const f32, b: *const f32, len: usize) -> f32 {
            // SAFETY: the contract of `Kernel`.
            unsafe { fold(a, b, len, $squared) }
        }

        #[target_feature(enable = $features)]
        unsafe extern "C" fn ip(a: *const f32, b: *const f32, len: usize) -> f32 {
            // SAFETY: the contract of `Kernel`.
            1.0 - unsafe { fold(a, b, len, $product) }
        }

        #[target_feature(enable = $features)]
        unsafe extern "C" fn l2sq4(a: *const f32, b: &[*const f32; 4], len: usize, out: &mut [f32; 4]) {
            // SAFETY: the contract of `Kernel4`.
            *out = unsafe { fold4(a, b, len, $squared) };
        }

        #[target_feature(enable = $features)]
        unsafe extern "C" fn ip4(a: *const f32, b: &[*const f32; 4], len: usize, out: &mut [f32; 4]) {
            // SAFETY: the contract of `Kernel4`.
            *out = unsafe { fold4(a, b, len, $product) }.map(|product| 1.0 - product);
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// A distance of two vectors of the same length.
///
/// # Safety
/// Both pointers are valid for reads of as many floats as the third argument says; the floats need no alignment. The processor has the
/// instructions of the kernel's set.
pub type Kernel = unsafe extern "C" fn(*const f32, *const f32, usize) -> f32;

/// The same distances of one vector to each of four others of the same length. This is faster than four calls, because four vectors come
/// from memory at once.
///
/// # Safety
/// As for [`Kernel`], for all five vectors.
pub type Kernel4 = unsafe extern "C" fn(*const f32, &[*const f32; 4], usize, &mut [f32; 4]);

/// The same distances of each of two vectors to each of four others, those of the first vector first. Each vector is loaded once for all
/// its distances. The results equal those of [`Kernel4`] in every bit.
///
/// # Safety
/// As for [`Kernel`], for all six vectors.
pub type Tile = unsafe extern "C" fn(&[*const f32; 2], &[*const f32; 4], usize, &mut [[f32; 4]; 2]);

/// The kernels of one instruction set.
pub struct Kernels {
    /// The instruction set.
    pub name: &'static str,
    /// The sum of squared differences.
    pub l2sq: Kernel,
    /// One minus the sum of products.
    pub ip: Kernel,
    /// `l2sq` of four pairs.
    pub l2sq4: Kernel4,
    /// `ip` of four pairs.
    pub ip4: Kernel4,
    /// `l2sq` and `ip` of eight pairs; only where there are registers for so many sums.
    pub tiles: Option<(Tile, Tile)>,
}

impl Kernels {
    /// The fastest kernels that this processor runs.
    pub fn detect() -> &'static Kernels {
        static CHOICE: OnceLock<&'static Kernels> = OnceLock::new();
        CHOICE.get_or_init(|| Self::all_supported()[0])
    }

    /// All kernels that this processor runs, fastest first; the last is portable.
    pub fn all_supported() -> Vec<&'static Kernels> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                kernels.push(&avx512::KERNELS);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                kernels.push(&avx2::KERNELS);
            }
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(&neon::KERNELS);
        kernels.push(&portable::KERNELS);
        kernels
    }
}

#[cfg(test)]
mod tests;
