//! The record of a measurement of search widths. It stands beside the root, so versions that do not know it read the image without it.

use super::checksum::checksum;
use crate::options::SLOTS_MAX;

/// The values of `k` for which recall is measured.
pub const K_LEVELS: [usize; 3] = [10, 30, 100];
/// First word of the record.
const VERSION: u64 = 1;
/// Words before the steps.
const FIELDS: usize = 6;
/// Words of a step.
const STEP_WORDS: usize = 1 + K_LEVELS.len();
/// More steps than any measurement has.
const STEPS_MAX: usize = 1000;

/// The recall of a sample of searches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// The mean recall, 0 to 1.
    pub mean: f32,
    /// The standard error of the mean.
    pub error: f32,
}

impl Share {
    /// The mean less its standard error: the recall of all searches is not below this, five times in six.
    fn sure(self) -> f64 {
        f64::from(self.mean) - f64::from(self.error)
    }
}

/// What the walks of one width found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The width.
    pub ef: u32,
    /// The recall for each of `K_LEVELS`; 0 where the width is too small for so many rows.
    pub shares: [Share; K_LEVELS.len()],
}

/// The recall of an index at widths from small to large.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// Rows of the index when it was measured.
    pub rows: u64,
    /// Searches for each width.
    pub queries: u64,
    /// Whether the searches were for query vectors of users, not for rows of the index.
    pub asked: bool,
    /// Whether the measurement ended because wider walks would cost more than exact searches.
    pub ended: bool,
    /// When the measurement was done, in microseconds since 1970.
    pub time: i64,
    /// One step for each width, ascending.
    pub steps: Vec<Step>,
}

impl Measurement {
    /// The smallest width that finds this share of the `k` nearest rows; `None` if no measured width does. Between two widths the recall is
    /// interpolated linearly; the true curve lies above that line.
    pub fn ef(&self, k: usize, share: f64) -> Option<f64> {
        let level = K_LEVELS.iter().position(|&level| k <= level).unwrap_or(K_LEVELS.len() - 1);
        // Beyond the last level, a walk that is wider by the same factor finds the same share of more rows.
        let factor = k.max(K_LEVELS[level]) as f64 / K_LEVELS[level] as f64;
        let sure = |step: &Step| step.shares[level].sure();
        let at = self.steps.iter().position(|step| sure(step) >= share)?;
        let (found, ef) = (sure(&self.steps[at]), f64::from(self.steps[at].ef));
        let below = at.checked_sub(1).map(|below| &self.steps[below]).filter(|below| sure(below) > 0.0);
        let ef = match below {
            Some(below) => {
                let below_ef = f64::from(below.ef);
                below_ef + (ef - below_ef) * (share - sure(below)) / (found - sure(below))
            }
            None => ef,
        };
        Some(ef * if k > K_LEVELS[level] { factor } else { 1.0 })
    }

    /// The recall of walks of this width for the first of `K_LEVELS`, interpolated between measured widths.
    pub fn share(&self, ef: f64) -> Share {
        let of = |step: &Step| (f64::from(step.ef), step.shares[0]);
        let above = self.steps.iter().position(|step| f64::from(step.ef) >= ef);
        match above {
            Some(0) => self.steps[0].shares[0],
            Some(at) => {
                let ((low, before), (high, after)) = (of(&self.steps[at - 1]), of(&self.steps[at]));
                let part = ((ef - low) / (high - low)) as f32;
                let between = |a: f32, b: f32| a + (b - a) * part;
                Share { mean: between(before.mean, after.mean), error: between(before.error, after.error) }
            }
            None => self.steps.last().map_or(Share::default(), |step| step.shares[0]),
        }
    }

    /// Whether the width for this share is known for all of `K_LEVELS`, or it is known that only exact searches reach the share.
    pub fn reaches(&self, share: f64) -> bool {
        self.ended || K_LEVELS.iter().all(|&level| self.ef(level, share).is_some())
    }

    /// The record: version, fields, steps, and a checksum of all before it.
    pub fn encode(&self) -> Vec<u8> {
        let flags = u64::from(self.asked) | u64::from(self.ended) << 1;
        let mut words = vec![VERSION, self.rows, self.queries, flags, self.time as u64, self.steps.len() as u64];
        for step in &self.steps {
            words.push(u64::from(step.ef));
            words.extend(
                step.shares.map(|share| u64::from(share.mean.to_bits()) | u64::from(share.error.to_bits()) << 32),
            );
        }
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a record; `None` if there is none, or if it is damaged or of an unknown version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        let (words, []) = body.as_chunks::<8>() else { return None };
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (fields, steps) = words.split_at_checked(FIELDS)?;
        let [VERSION, rows, queries, flags, time, count] = *fields else { return None };
        let small = [rows, queries].iter().all(|&number| number <= SLOTS_MAX as u64);
        let right = count <= STEPS_MAX as u64 && steps.len() == count as usize * STEP_WORDS && flags < 4 && small;
        if !right || checksum(body).to_le_bytes() != *sum {
            return None;
        }
        let share = |word: u64| Share { mean: f32::from_bits(word as u32), error: f32::from_bits((word >> 32) as u32) };
        let step = |words: &[u64]| -> Option<Step> {
            let mut shares = [Share::default(); K_LEVELS.len()];
            shares.iter_mut().zip(&words[1..]).for_each(|(to, &word)| *to = share(word));
            let sound = |share: &Share| (0.0..=1.0).contains(&share.mean) && (0.0..=1.0).contains(&share.error);
            let ef = u32::try_from(words[0]).ok().filter(|&ef| ef > 0)?;
            shares.iter().all(sound).then_some(Step { ef, shares })
        };
        let steps: Option<Vec<Step>> = steps.chunks(STEP_WORDS).map(step).collect();
        let steps = steps.filter(|steps| steps.is_sorted_by(|a, b| a.ef < b.ef))?;
        Some(Self { rows, queries, asked: flags & 1 != 0, ended: flags & 2 != 0, time: time as i64, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(ef: u32, means: [f32; 3]) -> Step {
        Step { ef, shares: means.map(|mean| Share { mean, error: 0.0 }) }
    }

    fn measurement() -> Measurement {
        let steps = vec![step(20, [0.8, 0.0, 0.0]), step(40, [0.9, 0.8, 0.0]), step(200, [0.98, 0.95, 0.9])];
        Measurement { rows: 1000, queries: 300, asked: true, ended: false, time: -5, steps }
    }

    #[test]
    fn a_record_is_whole_or_nothing() {
        let record = measurement().encode();
        assert_eq!(Measurement::decode(&record), Some(measurement()));
        assert_eq!(Measurement::decode(&Measurement::default().encode()), Some(Measurement::default()));
        for at in 0..record.len() {
            assert_eq!(Measurement::decode(&record[..at]), None);
            for bit in 0..8 {
                let mut damaged = record.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(Measurement::decode(&damaged), None);
            }
        }
    }

    #[test]
    fn impossible_numbers_are_refused_with_a_right_checksum() {
        let good = measurement().encode();
        for at in (0..good.len() - 8).step_by(8) {
            for value in [0, 1, 3, u64::from(f32::NAN.to_bits()), u64::from(2.0f32.to_bits()), 1 << 40, u64::MAX] {
                let mut bytes = good.clone();
                bytes[at..][..8].copy_from_slice(&value.to_le_bytes());
                let body = bytes.len() - 8;
                let sum = checksum(&bytes[..body]);
                bytes[body..].copy_from_slice(&sum.to_le_bytes());
                let Some(read) = Measurement::decode(&bytes) else { continue };
                assert!([read.rows, read.queries].iter().all(|&number| number <= SLOTS_MAX as u64));
                for share in [0.1, 0.85, 0.99] {
                    assert!(read.ef(10, share).is_none_or(|ef| ef.is_finite() && ef > 0.0));
                }
            }
        }
    }

    #[test]
    fn the_smallest_width_that_was_measured_to_suffice_is_found() {
        let measured = measurement();
        let ef = |k, share| measured.ef(k, share).map(f64::round);
        assert_eq!(ef(1, 0.7), Some(20.0));
        assert_eq!(ef(10, 0.85), Some(30.0));
        assert_eq!(ef(11, 0.8), Some(40.0), "the next level, and nothing is known of narrower walks");
        assert_eq!(ef(30, 0.875), Some(120.0));
        assert_eq!(ef(100, 0.89), Some(200.0));
        assert_eq!(ef(250, 0.89), Some(500.0));
        assert_eq!(ef(100, 0.95), None);
        assert!(measured.reaches(0.89) && !measured.reaches(0.95));
        assert!(Measurement { ended: true, ..measured }.reaches(0.95));
    }
}
