//! Norms of vectors. If all are nearly the same, every metric ranks the vectors alike.

/// An interval that holds the norms of some rankable vectors, as the user gave them. It may be wider than necessary, but never too narrow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// The smallest norm, rounded down; positive infinity if there is no vector.
    pub min: f32,
    /// The largest norm, rounded up; negative infinity if there is no vector.
    pub max: f32,
}

impl Norms {
    /// The norms of no vectors.
    pub const EMPTY: Self = Self { min: f32::INFINITY, max: f32::NEG_INFINITY };
    /// The norms of vectors that were not measured.
    pub const UNKNOWN: Self = Self { min: 0.0, max: f32::INFINITY };

    /// The norms of one vector with this squared norm.
    pub fn of_square(square: f64) -> Self {
        let norm = square.sqrt();
        let near = norm as f32;
        let min = if f64::from(near) > norm { near.next_down() } else { near };
        let max = if f64::from(near) < norm { near.next_up() } else { near };
        Self { min, max }
    }

    /// The norms of the vectors of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Whether there is no vector.
    pub fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// Whether all vectors were measured.
    pub fn is_known(self) -> bool {
        self.max != f32::INFINITY
    }

    /// Whether no norm exceeds another by more than the share `tolerance`, and none is zero. True without vectors; false if `tolerance` is
    /// NaN.
    pub fn are_one(self, tolerance: f64) -> bool {
        self.is_empty() || self.min > 0.0 && f64::from(self.max) <= f64::from(self.min) * (1.0 + tolerance)
    }

    /// Both numbers in one; `from_bits` undoes this.
    pub fn to_bits(self) -> u64 {
        u64::from(self.min.to_bits()) << 32 | u64::from(self.max.to_bits())
    }

    /// Undoes `to_bits`. `None` if these are no norms.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let norms = Self { min: f32::from_bits((bits >> 32) as u32), max: f32::from_bits(bits as u32) };
        (norms == Self::EMPTY || norms.min >= 0.0 && norms.min <= norms.max).then_some(norms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_rounded_outwards() {
        for square in [2.0, 3.0, 1e-30, 7e37, 1e-300, 0.1] {
            let Norms { min, max } = Norms::of_square(square);
            assert!(f64::from(min) < f64::sqrt(square) && f64::from(max) > f64::sqrt(square) && min.next_up() == max);
        }
        assert_eq!(Norms::of_square(25.0), Norms { min: 5.0, max: 5.0 });
        assert_eq!(Norms::of_square(0.0), Norms { min: 0.0, max: 0.0 });
    }

    #[test]
    fn one_norm_is_within_the_tolerance() {
        let norms = |min, max| Norms { min, max };
        assert!(norms(1.0, 1.0).are_one(0.0) && Norms::EMPTY.are_one(0.0));
        assert!(norms(2.0, 2.002).are_one(1.01e-3) && !norms(2.0, 2.002).are_one(0.99e-3));
        assert!(!norms(0.0, 0.0).are_one(1.0) && !Norms::UNKNOWN.are_one(1e30) && !norms(1.0, 1.0).are_one(f64::NAN));
        assert_eq!(norms(1.0, 2.0).union(norms(0.5, 1.5)), norms(0.5, 2.0));
        assert_eq!(norms(1.0, 2.0).union(Norms::EMPTY), norms(1.0, 2.0));
    }

    #[test]
    fn bits_are_norms_or_nothing() {
        for norms in [Norms::EMPTY, Norms::UNKNOWN, Norms { min: 0.25, max: 3.5 }, Norms { min: 0.0, max: 0.0 }] {
            assert_eq!(Norms::from_bits(norms.to_bits()), Some(norms));
        }
        for (min, max) in [(2.0, 1.0), (-1.0, 1.0), (f32::NAN, 1.0), (0.0, f32::NAN), (f32::INFINITY, 1.0)] {
            assert_eq!(Norms::from_bits(Norms { min, max }.to_bits()), None);
        }
    }
}
