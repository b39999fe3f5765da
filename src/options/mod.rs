//! The options of an index: names, defaults, ranges, and the messages about them.

mod metric;
mod quantization;

pub use self::metric::Metric;
pub use self::quantization::Quantization;
use crate::error::{Error, ErrorKind, Result};

/// Most levels of a node above the bottom one.
pub const LEVELS_MAX: usize = 64;
/// Most slots of an index: a place is stored as slot + 1 below 2³¹, because 0 means "no place".
pub const SLOTS_MAX: usize = (1 << 31) - 2;

/// A whole number that the user may choose.
#[derive(Clone, Copy, Debug)]
pub struct Tunable {
    /// The name in `WITH (…)`.
    pub name: &'static str,
    /// The value if the user gives none; `None` where it follows from another option.
    pub default: Option<usize>,
    /// Smallest value.
    pub min: usize,
    /// Largest value.
    pub max: usize,
}

/// Links of a node on a level above the bottom (the paper's `M`). 16 is usearch's default; the range is pgvector's.
pub const M: Tunable = Tunable { name: "m", default: Some(16), min: 2, max: 100 };
/// Links of a node on the bottom level. Twice `M` by default (paper, section 4.1).
pub const M0: Tunable = Tunable { name: "m0", default: None, min: 2, max: 200 };
/// Candidates kept while a row is linked (the paper's `efConstruction`). 128 is usearch's default.
pub const EF_CONSTRUCTION: Tunable = Tunable { name: "ef_construction", default: Some(128), min: 1, max: 10_000 };
/// Candidates kept while searching (the paper's `ef`). 64 is usearch's default.
pub const EF_SEARCH: Tunable = Tunable { name: "ef_search", default: Some(64), min: 1, max: 10_000 };
/// Standard errors by which the distances of codes may be off in a walk, unless the user sets another number: 19 of 20 distances are off by
/// less.
pub const RESCORE: f64 = 1.9;
/// The largest number of standard errors that the user may set. No distance is off by more.
pub const RESCORE_MAX: f64 = 100.0;
/// Elements of the vectors of an index: DuckDB's own limit of an ARRAY.
pub const DIMENSIONS_MAX: i64 = 100_000;

/// Every option name, as messages list them.
const NAMES: [&str; 7] =
    ["metric", "quantization", M.name, M0.name, EF_CONSTRUCTION.name, EF_SEARCH.name, "target_recall"];

impl Tunable {
    /// Returns `given` if it lies in the range. Errors: `Binder`.
    fn check(&self, given: i64) -> Result<usize> {
        let fits = usize::try_from(given).is_ok_and(|value| (self.min..=self.max).contains(&value));
        if fits { Ok(given as usize) } else { Err(self.refuse(&given.to_string())) }
    }

    fn refuse(&self, given: &str) -> Error {
        let Self { name, min, max, .. } = self;
        Error::new(
            ErrorKind::Binder,
            format!("HNSW option '{name}' is {given}; use a whole number from {min} to {max}"),
        )
    }
}

/// A value as the user gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A whole number; those beyond `i64` are clamped.
    Integer(i64),
    /// A string.
    Text(String),
    /// Anything else, as SQL shows it.
    Other {
        /// The SQL type.
        type_name: String,
        /// The value.
        text: String,
    },
    /// The name stood alone, or the value is NULL.
    Missing,
}

impl Given {
    /// The value as a message shows it.
    fn shown(&self) -> String {
        match self {
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => format!("'{text}'"),
            Self::Other { type_name, text } => format!("{text} ({type_name})"),
            Self::Missing => "without a value".to_owned(),
        }
    }
}

/// How an index is built and searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The metric that ranks rows.
    pub metric: Metric,
    /// How vectors are kept.
    pub quantization: Quantization,
    /// See [`M`].
    pub m: usize,
    /// See [`M0`]; at least `m`.
    pub m0: usize,
    /// See [`EF_CONSTRUCTION`].
    pub ef_construction: usize,
    /// See [`EF_SEARCH`].
    pub ef_search: usize,
    /// Whether the user gave `ef_search`; then `target_recall` does not set the search width.
    pub ef_given: bool,
    /// The share of the nearest rows that searches should find, above 0, at most 1; 0 if none was given.
    pub target_recall: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            metric: Metric::L2sq,
            quantization: Quantization::None,
            m: 16,
            m0: 32,
            ef_construction: 128,
            ef_search: 64,
            ef_given: false,
            target_recall: 0.0,
        }
    }
}

impl Options {
    /// The share of the nearest rows from which the search width follows, if it does; below 1.
    pub fn target(&self) -> Option<f64> {
        (!self.ef_given && self.target_recall > 0.0 && self.target_recall < 1.0).then_some(self.target_recall)
    }

    /// Options from pairs of name and value; names in any case, each at most once.
    ///
    /// Errors: `Binder` for unknown or repeated names, wrong types, missing values and values out of range; the message
    /// names the option, the value and what is allowed.
    pub fn parse(given: impl IntoIterator<Item = (String, Given)>) -> Result<Self> {
        let mut options = Self::default();
        let mut m0 = None;
        let mut seen = Vec::new();
        for (name, value) in given {
            let lower = name.to_ascii_lowercase();
            if seen.contains(&lower) {
                return Err(Error::new(ErrorKind::Binder, format!("HNSW option '{lower}' is given twice")));
            }
            match lower.as_str() {
                "metric" => options.metric = Metric::parse(&text(&value))?,
                "quantization" => options.quantization = Quantization::parse(&text(&value))?,
                "m" => options.m = whole(&M, &value)?,
                "m0" => m0 = Some(whole(&M0, &value)?),
                "ef_construction" => options.ef_construction = whole(&EF_CONSTRUCTION, &value)?,
                "ef_search" => (options.ef_search, options.ef_given) = (whole(&EF_SEARCH, &value)?, true),
                "target_recall" => options.target_recall = share(&value)?,
                _ => {
                    let names = NAMES.join(", ");
                    let message = format!("there is no HNSW option '{name}'; the options are {names}");
                    return Err(Error::new(ErrorKind::Binder, message));
                }
            }
            seen.push(lower);
        }
        options.m0 = m0.unwrap_or(2 * options.m);
        if options.m0 < options.m {
            let Self { m, m0, .. } = options;
            let message =
                format!("HNSW option 'm0' is {m0}, but 'm' is {m}; use a whole number from {m} to {}", M0.max);
            return Err(Error::new(ErrorKind::Binder, message));
        }
        Ok(options)
    }
}

fn whole(tunable: &Tunable, given: &Given) -> Result<usize> {
    match given {
        Given::Integer(value) => tunable.check(*value),
        other => Err(tunable.refuse(&other.shown())),
    }
}

/// A share of the nearest rows. Errors: `Binder`.
fn share(given: &Given) -> Result<f64> {
    let number = match given {
        Given::Integer(value) => Some(*value as f64),
        Given::Other { type_name, text }
            if ["DECIMAL", "DOUBLE", "FLOAT"].iter().any(|name| type_name.starts_with(name)) =>
        {
            text.parse().ok()
        }
        _ => None,
    };
    number.filter(|&number| is_share(number)).ok_or_else(|| {
        let shown = given.shown();
        Error::new(
            ErrorKind::Binder,
            format!("HNSW option 'target_recall' is {shown}; use a number above 0, at most 1"),
        )
    })
}

fn is_share(number: f64) -> bool {
    number > 0.0 && number <= 1.0
}

/// Checks a share of the nearest rows for the setting `hnsw_target_recall`. Errors: `InvalidInput`.
pub fn check_target_recall(given: f64) -> Result<()> {
    if is_share(given) {
        return Ok(());
    }
    let message = format!(
        "hnsw_target_recall is {given}; use a number above 0, at most 1, or NULL for each index's own search width"
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// The text of a name. Any other value is returned as shown, which is no known name, so that the message lists the names.
fn text(given: &Given) -> String {
    match given {
        Given::Text(text) => text.clone(),
        other => other.shown(),
    }
}

/// Checks a search width for the setting `hnsw_ef_search`. Errors: `InvalidInput`.
pub fn check_ef_search(given: i64) -> Result<()> {
    EF_SEARCH.check(given).map(|_| ()).map_err(|_| {
        let Tunable { min, max, .. } = EF_SEARCH;
        let message =
            format!("hnsw_ef_search is {given}; use a whole number from {min} to {max}, or NULL for each index's own");
        Error::new(ErrorKind::InvalidInput, message)
    })
}

/// Checks the standard errors for the setting `hnsw_rescore`. Errors: `InvalidInput`.
pub fn check_rescore(given: f64) -> Result<()> {
    if (0.0..=RESCORE_MAX).contains(&given) {
        return Ok(());
    }
    let message = format!("hnsw_rescore is {given}; use a number from 0 to {RESCORE_MAX}, or NULL for {RESCORE}");
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// Checks the number of elements of the vectors to be indexed. Errors: `Binder`.
pub fn check_dimensions(given: i64) -> Result<()> {
    if (1..=DIMENSIONS_MAX).contains(&given) {
        return Ok(());
    }
    let message = format!("vectors of {given} dimensions cannot be indexed; use 1 to {DIMENSIONS_MAX}");
    Err(Error::new(ErrorKind::Binder, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, Given)]) -> Result<Options> {
        Options::parse(given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
    }

    fn refusal(name: &str, value: Given) -> String {
        let error = parse(&[(name, value)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Binder);
        error.message
    }

    #[test]
    fn defaults_are_those_of_the_tunables() {
        let options = parse(&[]).unwrap();
        assert_eq!(options, Options::default());
        assert_eq!(Some(options.m), M.default);
        assert_eq!(options.m0, 2 * options.m);
        assert_eq!(Some(options.ef_construction), EF_CONSTRUCTION.default);
        assert_eq!(Some(options.ef_search), EF_SEARCH.default);
    }

    #[test]
    fn names_are_read_in_any_case_and_m0_follows_m() {
        let options = parse(&[("M", Given::Integer(24)), ("Metric", Given::Text("COS".into()))]).unwrap();
        assert_eq!((options.m, options.m0, options.metric), (24, 48, Metric::Cosine));
        assert_eq!(parse(&[("m", Given::Integer(100))]).unwrap().m0, 200);
    }

    #[test]
    fn refusals_name_option_value_and_range() {
        assert_eq!(refusal("m", Given::Integer(0)), "HNSW option 'm' is 0; use a whole number from 2 to 100");
        assert_eq!(refusal("M0", Given::Integer(-1)), "HNSW option 'm0' is -1; use a whole number from 2 to 200");
        assert_eq!(
            refusal("ef_construction", Given::Text("abc".into())),
            "HNSW option 'ef_construction' is 'abc'; use a whole number from 1 to 10000"
        );
        assert_eq!(
            refusal("ef_search", Given::Other { type_name: "DECIMAL(2,1)".into(), text: "1.5".into() }),
            "HNSW option 'ef_search' is 1.5 (DECIMAL(2,1)); use a whole number from 1 to 10000"
        );
        assert_eq!(
            refusal("m", Given::Missing),
            "HNSW option 'm' is without a value; use a whole number from 2 to 100"
        );
        assert_eq!(
            refusal("efsearch", Given::Integer(8)),
            "there is no HNSW option 'efsearch'; the options are metric, quantization, m, m0, ef_construction, ef_search, \
             target_recall"
        );
        assert_eq!(
            refusal("m0", Given::Integer(8)),
            "HNSW option 'm0' is 8, but 'm' is 16; use a whole number from 16 to 200"
        );
        assert!(refusal("metric", Given::Integer(3)).starts_with("HNSW option 'metric' is '3'; use one of"));
        let twice = parse(&[("m", Given::Integer(3)), ("M", Given::Integer(4))]).unwrap_err();
        assert_eq!(twice.message, "HNSW option 'm' is given twice");
    }

    #[test]
    fn quantizations_are_read_by_name() {
        assert_eq!(parse(&[]).unwrap().quantization, Quantization::None);
        assert_eq!(parse(&[("quantization", Given::Text("int4".into()))]).unwrap().quantization, Quantization::Sq4);
        let refused = refusal("quantization", Given::Integer(8));
        assert!(refused.starts_with("HNSW option 'quantization' is '8'; use one of 'none'"), "{refused}");
        let refused = refusal("quantization", Given::Missing);
        assert!(refused.starts_with("HNSW option 'quantization' is 'without a value'; use one of"), "{refused}");
    }

    #[test]
    fn shares_lie_above_zero_and_up_to_one() {
        let share = |text: &str| Given::Other { type_name: "DECIMAL(3,2)".into(), text: text.into() };
        let options = |given: Given| parse(&[("target_recall", given)]).unwrap();
        assert_eq!(options(share("0.95")).target(), Some(0.95));
        assert_eq!((options(Given::Integer(1)).target_recall, options(Given::Integer(1)).target()), (1.0, None));
        assert_eq!(
            parse(&[("target_recall", share("0.95")), ("ef_search", Given::Integer(64))]).unwrap().target(),
            None
        );
        assert_eq!(
            refusal("target_recall", share("1.01")),
            "HNSW option 'target_recall' is 1.01 (DECIMAL(3,2)); use a number above 0, at most 1"
        );
        for given in [Given::Integer(0), Given::Text("0.9".into()), Given::Missing, share("NaN")] {
            assert!(refusal("target_recall", given).ends_with("; use a number above 0, at most 1"));
        }
        assert!(check_target_recall(0.5).is_ok() && check_target_recall(f64::NAN).is_err());
    }

    #[test]
    fn settings_and_dimensions_are_checked() {
        assert!([0.0, 1.9, 100.0].into_iter().all(|given| check_rescore(given).is_ok()));
        assert!([-0.1, 101.0, f64::NAN, f64::INFINITY].into_iter().all(|given| check_rescore(given).is_err()));
        assert_eq!(
            check_rescore(-1.0).unwrap_err().message,
            "hnsw_rescore is -1; use a number from 0 to 100, or NULL for 1.9"
        );
        assert!(check_ef_search(1).is_ok() && check_ef_search(10_000).is_ok());
        assert_eq!(
            check_ef_search(-5).unwrap_err().message,
            "hnsw_ef_search is -5; use a whole number from 1 to 10000, or NULL for each index's own"
        );
        assert!(check_dimensions(1).is_ok() && check_dimensions(DIMENSIONS_MAX).is_ok());
        assert_eq!(
            check_dimensions(0).unwrap_err().message,
            "vectors of 0 dimensions cannot be indexed; use 1 to 100000"
        );
    }
}
