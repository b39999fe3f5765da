//! Kernels over pairs of `f32` vectors, chosen once at run time for the processor.
//!
//! All accumulate in `f32`, in several independent sums: they differ from the exact value, and from each other, by rounding
//! only. NaN and infinity propagate.

use std::sync::OnceLock;

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
/// Both pointers are valid for reads of that many floats, which need no alignment, and the processor has the instructions of
/// the kernel's set.
pub type Kernel = unsafe extern "C" fn(*const f32, *const f32, usize) -> f32;

/// The same distances of one vector to each of four others, as many floats long: faster than four calls, since four vectors come
/// from memory at once.
///
/// # Safety
/// As for [`Kernel`], for all five vectors.
pub type Kernel4 = unsafe extern "C" fn(*const f32, &[*const f32; 4], usize, &mut [f32; 4]);

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
